"""Connects a TaskQueue to its broker: Secret, endpoint, shared observer."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue

from .credentials import Credentials

CREDENTIAL_FAULTS: Final = frozenset({Reason.AUTHENTICATION_FAILED, Reason.PERMISSION_DENIED})
PARALLEL_READS: Final = 32
"""Secrets that are read at the same time."""


class BrokerConnector:
    """Selects the observer of each TaskQueue, and another one when its Secret has changed."""

    def __init__(self, states: States, credentials: Credentials, observers: Observers, clock: Clock) -> None:
        self._states = states
        self._credentials = credentials
        self._observers = observers
        self._clock = clock

    async def connect(self, taskqueue: TaskQueue, *further: str) -> QueueObserver:
        """Start to read the queues that its workers consume, and further ones; return the observer.

        Raises:
            BrokerFault: The Secret is missing or invalid.
        """
        state = self._states[taskqueue.key]
        connection = state.connection
        if _credentials_refused(state, taskqueue):
            await self._credentials.reread(taskqueue.key)
        observer = self._observers.use(taskqueue.key, await self._credentials.endpoint(taskqueue))
        if observer is not connection.observer:
            if connection.observer is not None:
                state.reconcile.forget_topology()
            connection.observer, connection.connected_at = observer, self._clock()
        connection.broker = taskqueue.spec.broker
        self.follow(taskqueue, *further)
        return observer

    def follow(self, taskqueue: TaskQueue, *further: str) -> None:
        """Read the queues that its workers consume now, as the topology has shown, and further ones."""
        state = self._states[taskqueue.key]
        own = taskqueue.dead_letter_queues[0] if taskqueue.declared_queues else None
        if state.connection.observer is not None:
            names = state.queue_names(taskqueue)
            state.connection.observer.follow(taskqueue.key, *names, *further, dead_letters=own)

    async def connect_all(self, taskqueues: Iterable[TaskQueue]) -> None:
        """Start to read all queues; faults are found again when each TaskQueue is reconciled."""
        remaining = (taskqueue for taskqueue in taskqueues if not taskqueue.deleting)

        async def connect_next() -> None:
            for taskqueue in remaining:
                with suppress(Exception):
                    await self.connect(taskqueue)
                await asyncio.sleep(0)  # thousands share a Secret that is read already

        await asyncio.gather(*(connect_next() for _ in range(PARALLEL_READS)))

    def forget(self, key: Key) -> None:
        """Stop reading for a TaskQueue that no longer exists."""
        self._observers.release(key)
        self._credentials.forget(key)


def _credentials_refused(state: TaskQueueState, taskqueue: TaskQueue) -> bool:
    """Whether the broker refuses the credentials of the Secret as last read."""
    queues = state.queues(taskqueue)
    read_fault = queues.fault() if queues is not None else None
    return any(
        fault is not None and fault.reason in CREDENTIAL_FAULTS
        for fault in (read_fault, state.reconcile.faults.get(ConditionType.BROKER_REACHABLE))
    )
