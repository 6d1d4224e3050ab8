"""Keeps the topology on the broker as declared: reads it, applies the missing steps, and reads it again."""

from dataclasses import replace
from functools import partial
from typing import Final

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import Key, dead_letter_queue, owner
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.topology.consumer_timeout import consumer_timeout, granted_seconds
from taskqueue_operator.topology.dead_letter_limits import dead_letter_limits
from taskqueue_operator.topology.desired import desired as desired_topology
from taskqueue_operator.topology.diff import Step, diff
from taskqueue_operator.topology.external import check_external
from taskqueue_operator.topology.objects import Policy, Topology
from taskqueue_operator.topology.queue_policies import queue_policies
from taskqueue_operator.workers.template_hash import template_hash

ROUNDS: Final = 4
"""How often the topology is read in one reconcile. The second read shows that another TaskQueue has the same names, and
which policy the broker applies to a new queue; the third one that a policy for it has an effect."""


class TopologyReconciler:
    """Verifies the topology of a TaskQueue once per generation and broker, and whenever it was seen to drift."""

    def __init__(self, cache: Cache, states: States, telemetry: Telemetry, installation: str) -> None:
        self.installation = installation
        self._cache = cache
        self._states = states
        self._telemetry = telemetry

    async def reconcile(self, taskqueue: TaskQueue) -> None:
        """Declare the topology on the broker.

        Raises:
            TopologyFault: An object on the broker conflicts with the spec; nothing was changed.
            BrokerFault: The broker cannot be used.
        """
        state, observer = self._states[taskqueue.key].reconcile, self._states[taskqueue.key].connection.observer
        if state.topology_generation == taskqueue.generation or observer is None:
            return
        state.request_topology_check()
        for _ in range(ROUNDS):
            actual = await observer.topology()
            steps = self.steps(taskqueue, actual)
            if not steps:
                self._accept(taskqueue, actual)
                return
            await observer.vhost.apply(steps)
            self._telemetry.wrote("topology")
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f"The topology of queue {taskqueue.queue_name} changes again after each repair. "
            "Find the other client that changes it.",
        )

    def accept_if_matching(self, taskqueue: TaskQueue, actual: Topology) -> None:
        """Record the topology as checked if it matches: after a start, one read serves all TaskQueues of a vhost."""
        state = self._states[taskqueue.key].reconcile
        if state.topology_generation is None and self._matches(taskqueue, actual):
            self._accept(taskqueue, actual)

    def _accept(self, taskqueue: TaskQueue, actual: Topology) -> None:
        state = self._states[taskqueue.key]
        state.reconcile.topology_generation = taskqueue.generation
        state.reconcile.has_policy = bool(queue_policies(taskqueue.queue_name, actual))
        if state.connection.observer is not None and taskqueue.declared_queue is not None:
            queue = taskqueue.declared_queue
            state.connection.observer.require(taskqueue.key, {queue, dead_letter_queue(queue)})

    def has_policy(self, key: Key) -> bool:
        """Whether a queue of a TaskQueue had a policy of the operator when it was checked last."""
        return self._states[key].reconcile.has_policy

    def has_drifted(self, taskqueue: TaskQueue, actual: Topology) -> bool:
        """Whether the topology has changed since it was checked."""
        is_checked = self._states[taskqueue.key].reconcile.topology_generation == taskqueue.generation
        return is_checked and not self._matches(taskqueue, actual)

    def _matches(self, taskqueue: TaskQueue, actual: Topology) -> bool:
        try:
            return not self.steps(taskqueue, actual)
        except TopologyFault:
            return False

    def steps(self, taskqueue: TaskQueue, actual: Topology) -> tuple[Step, ...]:
        """Return the steps from the actual topology to the desired one.

        Raises:
            TopologyFault: An object on the broker conflicts with the spec.
        """
        if taskqueue.queue.external:
            check_external(taskqueue, actual, partial(self._declares, taskqueue.queue_name))
        desired = self._with_policies(taskqueue, desired_topology(taskqueue, self.installation), actual)
        return diff(desired, actual, owner=self.owner(taskqueue.key))

    def _with_policies(self, taskqueue: TaskQueue, desired: Topology, actual: Topology) -> Topology:
        if taskqueue.queue_name not in desired.queues:
            return desired
        timeout = self._timeout(taskqueue, actual)
        limits = dead_letter_limits(taskqueue.queue_name, taskqueue.spec.dead_letter, actual)
        return replace(desired, policies={policy.name: policy for policy in (timeout, limits) if policy is not None})

    def _timeout(self, taskqueue: TaskQueue, actual: Topology) -> Policy | None:
        """Return the consumer timeout that the workers need, including those of an earlier template that still run."""
        worker = taskqueue.spec.worker
        sets_own_timeout = worker.protocol is Protocol.TASK_QUEUE and actual.supports_consumer_timeout
        seconds = 0 if sets_own_timeout else worker.hold_seconds
        template = template_hash(taskqueue)
        if any(pod.template_hash != template and not pod.finished for pod in self._cache.pods(taskqueue.key)):
            seconds = max(seconds, granted_seconds(taskqueue.queue_name, actual))
        return consumer_timeout(taskqueue.queue_name, seconds, actual)

    def _declares(self, queue: str, owner_argument: str) -> bool:
        """Whether the TaskQueue with this owner argument exists and declares this queue for its workers."""
        installation, _, key = owner_argument.partition("/")
        other = self._cache.taskqueue(Key(*key.partition("/")[::2]))
        return installation == self.installation and other is not None and other.declared_queue == queue

    def owner(self, key: Key) -> str:
        """Return the owner mark of the broker objects of a TaskQueue."""
        return owner(self.installation, key)
