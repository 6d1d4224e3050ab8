"""Keeps the topology on the broker as declared: looks, takes the steps that are missing, and looks again."""

from dataclasses import replace
from typing import Final

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import Key, owner
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.topology.consumer_timeout import consumer_timeout, granted_seconds
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.diff import Step, diff
from taskqueue_operator.topology.objects import Topology
from taskqueue_operator.workers.template_hash import template_hash

ROUNDS: Final = 3
"""Steps are taken at most so often in one go; two TaskQueues that want the same name meet at the second look."""


class TopologyReconciler:
    """Verifies the topology of a TaskQueue once per generation and broker, and whenever it was seen to drift."""

    def __init__(self, cache: Cache, states: States, telemetry: Telemetry, installation: str) -> None:
        self.installation = installation
        self._cache = cache
        self._states = states
        self._telemetry = telemetry

    async def declare(self, taskqueue: TaskQueue) -> None:
        """Have the topology on the broker.

        Raises:
            TopologyFault: Something on the broker does not agree with the spec; nothing was changed.
            BrokerFault: The broker cannot be used.
        """
        state, observer = self._states[taskqueue.key].reconcile, self._states[taskqueue.key].connection.observer
        if state.topology_generation == taskqueue.generation or observer is None:
            return
        state.request_topology_check()
        for _ in range(ROUNDS):
            there = await observer.topology()
            steps = self.steps(taskqueue, there)
            if not steps:
                state.topology_generation = taskqueue.generation
                return
            await observer.vhost.apply(steps)
            self._telemetry.wrote("topology")
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f"What is declared for queue {taskqueue.queue_name} is changed again by somebody else. Find out who.",
        )

    def accept_if_matching(self, taskqueue: TaskQueue, there: Topology) -> None:
        """After a start one look is enough for all TaskQueues whose topology is already as declared."""
        state = self._states[taskqueue.key].reconcile
        if state.topology_generation is None and self._holds(taskqueue, there):
            state.topology_generation = taskqueue.generation

    def has_drifted(self, taskqueue: TaskQueue, there: Topology) -> bool:
        """Whether the broker no longer holds what was verified."""
        verified = self._states[taskqueue.key].reconcile.topology_generation == taskqueue.generation
        return verified and not self._holds(taskqueue, there)

    def _holds(self, taskqueue: TaskQueue, there: Topology) -> bool:
        try:
            return not self.steps(taskqueue, there)
        except TopologyFault:
            return False

    def steps(self, taskqueue: TaskQueue, there: Topology) -> tuple[Step, ...]:
        """Say what is to be done.

        Raises:
            TopologyFault: Something is in the way.
        """
        _require_external(taskqueue, there)
        wanted = self._with_timeout(taskqueue, desired(taskqueue, self.installation), there)
        return diff(wanted, there, owner=self.owner(taskqueue.key))

    def _with_timeout(self, taskqueue: TaskQueue, wanted: Topology, there: Topology) -> Topology:
        """Have the broker leave messages for long enough, also to workers of before that still run."""
        queue, worker = wanted.queues.get(taskqueue.queue_name), taskqueue.spec.worker
        if queue is None:
            return wanted
        says_itself = worker.protocol is Protocol.TASK_QUEUE and there.supports_consumer_timeout
        seconds = 0 if says_itself else worker.hold_seconds
        template = template_hash(taskqueue)
        if any(pod.template_hash != template and not pod.finished for pod in self._cache.pods(taskqueue.key)):
            seconds = max(seconds, granted_seconds(queue.name, there))
        policy = consumer_timeout(queue, seconds, there)
        return replace(wanted, policies={policy.name: policy}) if policy is not None else wanted

    def owner(self, key: Key) -> str:
        """Say what marks the objects of a TaskQueue."""
        return owner(self.installation, key)


def _require_external(taskqueue: TaskQueue, there: Topology) -> None:
    if taskqueue.queue.external and taskqueue.queue_name not in there.queues:
        raise TopologyFault(
            Reason.QUEUE_NOT_FOUND,
            f'External queue "{taskqueue.queue_name}" is not there. Declare it, correct spec.queue.name or '
            "spec.broker.vhost, or remove external: true to have it made.",
        )
