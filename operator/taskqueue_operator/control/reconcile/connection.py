"""From a TaskQueue to the observer that reads its queue: Secret, endpoint, shared observer."""

import asyncio
from collections.abc import Iterable
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

REFUSALS = frozenset({Reason.AUTHENTICATION_FAILED, Reason.PERMISSION_DENIED})
AT_ONCE: Final = 32
"""Secrets that are read at the same time."""


class BrokerConnector:
    """Gives each TaskQueue its observer, and another one when its Secret has changed."""

    def __init__(self, states: States, credentials: Credentials, readers: Observers, clock: Clock) -> None:
        self._states = states
        self._credentials = credentials
        self._readers = readers
        self._clock = clock

    async def connect(self, taskqueue: TaskQueue, *queues: str) -> QueueObserver:
        """Have the queues read.

        Raises:
            BrokerFault: The Secret is missing or unusable.
        """
        state = self._states[taskqueue.key]
        connection = state.connection
        if _refused(state, taskqueue.queue_name):
            await self._credentials.reread(taskqueue.key)
        observer = self._readers.use(taskqueue.key, await self._credentials.endpoint(taskqueue))
        if observer is not connection.observer:
            connection.observer, connection.connected_at = observer, self._clock()
            state.reconcile.request_topology_check()
        connection.broker = taskqueue.spec.broker
        observer.follow(taskqueue.key, *queues)
        return observer

    async def connect_all(self, taskqueues: Iterable[TaskQueue]) -> None:
        """Have all queues read; what is in the way is found again when each TaskQueue is reconciled."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def connect(taskqueue: TaskQueue) -> None:
            async with gate:
                await self.connect(taskqueue, taskqueue.queue_name)

        living = (each for each in taskqueues if not each.deleting)
        await asyncio.gather(*map(connect, living), return_exceptions=True)

    def forget(self, key: Key) -> None:
        """Read no more for a TaskQueue that is gone."""
        self._readers.release(key)
        self._credentials.forget(key)


def _refused(state: TaskQueueState, queue: str) -> bool:
    """Whether the broker refuses what the Secret said when it was last read."""
    observer = state.connection.observer
    observed = observer.fault_at(queue) if observer is not None else None
    return any(
        fault is not None and fault.reason in REFUSALS
        for fault in (observed, state.reconcile.faults.get(ConditionType.BROKER_REACHABLE))
    )
