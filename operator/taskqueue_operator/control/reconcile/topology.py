"""Keeps the topology on the broker as declared: reads it, applies the missing steps, and reads it again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.reconcile_state import ReconcileState, Repair
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.conditions import ConditionStatus, ConditionType
from taskqueue_operator.resource.faults import Fault, Reason, TopologyFault
from taskqueue_operator.resource.names import Key, owner, private_exchange
from taskqueue_operator.resource.queue import SettingsBy
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.topology.adoption import check_adoption, unmarked_exchanges, unmarked_queues
from taskqueue_operator.topology.celery_delays import celery_delay_steps
from taskqueue_operator.topology.consumer_timeout import granted_seconds, timeout_requirement
from taskqueue_operator.topology.dead_letter_limits import dead_letter_limits
from taskqueue_operator.topology.delayed_retries import granted_retries, retry_requirement
from taskqueue_operator.topology.desired import desired as desired_topology
from taskqueue_operator.topology.diff import Step, diff
from taskqueue_operator.topology.drift import description, repairs
from taskqueue_operator.topology.external import check_external
from taskqueue_operator.topology.migration import Migration
from taskqueue_operator.topology.objects import Policy, Topology
from taskqueue_operator.topology.opening import until_kept
from taskqueue_operator.topology.other_exchanges import check_existence, check_other_exchanges, without_missing
from taskqueue_operator.topology.policy_budget import within_budget
from taskqueue_operator.topology.queue_limits import limits_requirement
from taskqueue_operator.topology.queue_policies import delays_returned, main_policies, main_policy, queue_policies
from taskqueue_operator.topology.queue_settings import settings_requirement
from taskqueue_operator.topology.retry_path import retry_steps
from taskqueue_operator.topology.versions import check_oldest
from taskqueue_operator.workers.template_hash import template_hash

from .migrations import Migrations

WithoutSlot = Callable[[Key], AbstractAsyncContextManager[None]]
ROUNDS: Final = 5
"""How often the topology is read in one reconcile. The second read shows that another TaskQueue has the same names, and
which policy the broker applies to a new queue; the third one that a policy for it has an effect, so that messages may
be led to it."""


class TopologyReconciler:
    """Verifies the topology of a TaskQueue once per generation and broker, and whenever it was seen to drift."""

    def __init__(
        self, cache: Cache, states: States, telemetry: Telemetry, installation: str, without_slot: WithoutSlot
    ) -> None:
        """`without_slot` returns the context in which a TaskQueue waits for what it shares with others."""
        self.installation = installation
        self.migrations = Migrations(cache, states, installation)
        self._cache = cache
        self._states = states
        self._telemetry = telemetry
        self._without_slot = without_slot

    async def read(self, taskqueue: TaskQueue, observer: QueueObserver) -> Topology:
        """Read the topology of the vhost. A TaskQueue needs no slot while it waits: all of a vhost share a read.

        Raises:
            WaitForEvent, BrokerFault, Conflict: As the observer raises them.
        """
        return await observer.topology(partial(self._without_slot, taskqueue.key))

    async def reconcile(self, taskqueue: TaskQueue) -> None:
        """Declare the topology on the broker, or continue the migration of the queue as far as it can go now.

        Raises:
            TopologyFault: An object on the broker conflicts with the spec, and nothing was changed; or an exchange of
                others is missing, and everything else is as declared.
            Fault: The migration cannot go on.
            BrokerFault: The broker cannot be used.
        """
        state, observer = self._states[taskqueue.key].reconcile, self._states[taskqueue.key].connection.observer
        was_declared = self._was_declared(taskqueue)
        if state.topology_generation == taskqueue.generation or observer is None:
            return
        state.request_topology_check()
        drift, drifted = "", state.take_drifted()
        for number in range(ROUNDS):
            actual = drifted or await self.read(taskqueue, observer)
            drifted = None
            try:
                migration = self.migrate(taskqueue, actual, observer)
                steps = (
                    within_budget(migration.steps, actual) if migration is not None else self.steps(taskqueue, actual)
                )
            except TopologyFault:
                self._record_repair(state, drift)
                raise
            if migration is not None and not steps:
                return
            if not steps:
                self._accept(taskqueue, actual)
                self._record_repair(state, drift)
                return
            if was_declared and number == 0 and migration is None:  # what the next reads find are consequences
                drift = self._drift(taskqueue, self._own_steps(taskqueue, actual), actual, observer)
            await observer.vhost.apply(steps)
            self._telemetry.wrote("topology")
        if state.migration is not None:
            return
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f"The topology of queue {taskqueue.queue_name} changes again after each repair. "
            "Find the other client that changes it.",
        )

    def migrate(self, taskqueue: TaskQueue, actual: Topology, observer: QueueObserver) -> Migration | None:
        """Return the migration of the queue with its next steps, and record it; None if there is none.

        Raises:
            Fault: It cannot begin, or cannot go on.
        """
        self.migrations.find_interim(taskqueue, actual)
        found = self._migration(taskqueue, actual, observer)
        self.migrations.record(taskqueue, found, observer)
        if found is not None and found.obstacle is not None:
            raise found.obstacle
        return found

    def _migration(
        self, taskqueue: TaskQueue, actual: Topology, observer: QueueObserver | None = None
    ) -> Migration | None:
        if not self.migrations.is_due(taskqueue, actual):
            return None
        check_other_exchanges(taskqueue, actual, owner=self.owner(taskqueue.key))
        both = replace(taskqueue, is_migrating=True)
        desired = without_missing(desired_topology(both, self.installation), actual)
        return self.migrations.find(taskqueue, self._with_policies(both, desired, actual), actual, observer)

    def _was_declared(self, taskqueue: TaskQueue) -> bool:
        """Whether the topology of this generation was complete on this broker, now or when a former process read it."""
        state = self._states[taskqueue.key].reconcile
        if state.declared_generation is None:
            seen = self._cache.taskqueues.get(taskqueue.key)
            state.declared_generation = _declared_generation(seen.status) if seen is not None else 0
        return state.declared_generation == taskqueue.generation

    def _drift(self, taskqueue: TaskQueue, steps: Sequence[Step], actual: Topology, observer: QueueObserver) -> str:
        """Return what has drifted; empty if the steps have another cause."""

        def messages(queue: str) -> int | None:
            is_consumed = queue in taskqueue.declared_queues
            return observer.last_messages(queue) if is_consumed else observer.dead_letters(taskqueue.key)

        repaired = tuple(repairs(steps, actual, self._states[taskqueue.key].reconcile.policies))
        return description(repaired, actual, messages) if repaired else ""

    def _record_repair(self, state: ReconcileState, drift: str) -> None:
        if drift:
            state.repair = Repair(state.repair.number + 1 if state.repair is not None else 1, drift)

    def accept_if_matching(self, taskqueue: TaskQueue, actual: Topology) -> None:
        """Record the topology as checked if it matches: after a start, one read serves all TaskQueues of a vhost."""
        state = self._states[taskqueue.key].reconcile
        if state.topology_generation is None and self._matches(taskqueue, actual):
            self._accept(taskqueue, actual)

    def _accept(self, taskqueue: TaskQueue, actual: Topology) -> None:
        state = self._states[taskqueue.key]
        state.reconcile.topology_generation = state.reconcile.declared_generation = taskqueue.generation
        policies = queue_policies(taskqueue.queue_name, actual, taskqueue.declared_queues)
        state.reconcile.policies = {policy.name: policy for policy in policies}
        state.reconcile.delays_returned = _delays_returned(state.queue_names(taskqueue), actual)
        state.reconcile.topology_digest = self._digest(taskqueue, actual)
        state.reconcile.not_created = self._not_created(taskqueue, actual)
        if state.connection.observer is not None and not taskqueue.queue.external:
            required = {*taskqueue.declared_queues, *taskqueue.dead_letter_queues}
            state.connection.observer.require(taskqueue.key, required)

    def _not_created(self, taskqueue: TaskQueue, actual: Topology) -> tuple[str, ...]:
        desired = desired_topology(taskqueue, self.installation)
        return (
            *(f'exchange "{exchange.name}"' for exchange in unmarked_exchanges(desired, actual)),
            *(f'queue "{queue.name}"' for queue in unmarked_queues(desired, actual)),
        )

    def has_policy(self, key: Key) -> bool:
        """Whether a queue of a TaskQueue had a policy of the operator when it was checked last."""
        return bool(self._states[key].reconcile.policies)

    def has_drifted(self, taskqueue: TaskQueue, actual: Topology) -> bool:
        """Whether the topology has changed since it was checked, or what delays messages of its queue."""
        names, state = self._states[taskqueue.key].queue_names(taskqueue), self._states[taskqueue.key].reconcile
        digest = self._digest(taskqueue, actual)
        is_as_before = bool(digest) and digest == state.topology_digest
        if state.topology_generation != taskqueue.generation or is_as_before:
            return False
        is_reported = state.delays_returned == _delays_returned(names, actual)
        if not is_reported or not self._matches(taskqueue, actual):
            return True
        state.topology_digest = digest
        return False

    def _digest(self, taskqueue: TaskQueue, actual: Topology) -> bytes:
        """Return the digest of a vhost; empty if it does not decide alone whether the topology matches.

        A policy depends on the pods that still run, and an external queue on other TaskQueues.
        """
        needs_pods = self.has_policy(taskqueue.key) and any(self._cache.pods(taskqueue.key))
        return b"" if needs_pods or taskqueue.queue.external else actual.digest

    def _matches(self, taskqueue: TaskQueue, actual: Topology) -> bool:
        try:
            return self._migration(taskqueue, actual) is None and not self.steps(taskqueue, actual)
        except Fault:  # otherwise one TaskQueue would end the comparison of all others
            return False

    def steps(self, taskqueue: TaskQueue, actual: Topology) -> tuple[Step, ...]:
        """Return the steps from the actual topology to the desired one.

        Raises:
            TopologyFault: An object on the broker conflicts with the spec, or an exchange of others is missing.
        """
        if taskqueue.queue.external:
            check_external(taskqueue, actual, self._declares)
        else:
            check_oldest(taskqueue.queue_name, actual.version)
        check_other_exchanges(taskqueue, actual, owner=self.owner(taskqueue.key))
        steps = within_budget((*self._own_steps(taskqueue, actual), *self._delay_steps(taskqueue, actual)), actual)
        # A new topology is declared as a whole. Later, what is missing elsewhere stops no repair.
        has_queue = any(queue in actual.queues for queue in taskqueue.queue_names)
        if not steps or not (has_queue or private_exchange(taskqueue.queue_name) in actual.exchanges):
            check_existence(taskqueue, actual)
        return steps

    def _delay_steps(self, taskqueue: TaskQueue, actual: Topology) -> Iterable[Step]:
        """Return the steps to what delays messages of its queues, in objects that the TaskQueues of a vhost share."""
        paths = []
        if taskqueue.delays_retries:
            paths.append(retry_steps)
        if taskqueue.queue.delayed_delivery is not None:
            paths.append(celery_delay_steps)
        mark, is_limited = self.owner(taskqueue.key), taskqueue.queue.has_length_limit
        steps = (
            path(name, actual, owner=mark, is_limited=is_limited)
            for path in paths
            for name in taskqueue.declared_queues
        )
        return dict.fromkeys(chain.from_iterable(steps))

    def _own_steps(self, taskqueue: TaskQueue, actual: Topology) -> tuple[Step, ...]:
        """Return the steps without those for what delays messages, which belongs to the vhost."""
        desired = without_missing(desired_topology(taskqueue, self.installation), actual)
        if taskqueue.adopts:
            check_adoption(desired, actual)
        steps = diff(self._with_policies(taskqueue, desired, actual), actual, owner=self.owner(taskqueue.key))
        queue = desired.queues.get(taskqueue.queue_name)
        return until_kept(steps, queue, actual) if queue is not None else steps

    def _with_policies(self, taskqueue: TaskQueue, desired: Topology, actual: Topology) -> Topology:
        if taskqueue.queue.external:
            return desired
        limits = dead_letter_limits(taskqueue.queue_name, taskqueue.spec.dead_letter, actual)
        policies = (*(self._consumer_policy(queue, taskqueue, actual) for queue in taskqueue.queue_names), limits)
        return replace(desired, policies={policy.name: policy for policy in policies if policy is not None})

    def _consumer_policy(self, queue: str, taskqueue: TaskQueue, actual: Topology) -> Policy | None:
        """Return the policy of a queue that the workers need, including those of an earlier template that still run."""
        worker = taskqueue.spec.worker
        sets_own_timeout = worker.protocol is Protocol.TASK_QUEUE and actual.supports_consumer_timeout
        seconds = 0 if sets_own_timeout else taskqueue.hold_seconds
        retries = retry_requirement(queue, taskqueue, actual)
        if self._runs_earlier_template(taskqueue):
            existing = main_policies(queue, actual)
            seconds = max(seconds, granted_seconds(existing))
            retries = retries or granted_retries(queue, existing)
        timeout = timeout_requirement(queue, seconds, actual.version)
        limits = limits_requirement(taskqueue, actual.queues.get(queue))
        requirements = [item for item in (retries, timeout, limits) if item is not None]
        if taskqueue.is_migrating or taskqueue.queue.settings_by is SettingsBy.POLICY:
            settings = settings_requirement(queue, taskqueue.queue_name, requirements, actual)
            requirements = [settings, *requirements] if settings is not None else requirements
        return main_policy(queue, requirements, actual)

    def _runs_earlier_template(self, taskqueue: TaskQueue) -> bool:
        template = template_hash(taskqueue)
        return any(pod.template_hash != template and not pod.finished for pod in self._cache.pods(taskqueue.key))

    def _declares(self, queue: str, owner_argument: str) -> bool:
        """Whether the TaskQueue with this owner argument exists and declares this queue for its workers."""
        installation, _, key = owner_argument.partition("/")
        other = self._cache.taskqueue(Key(*key.partition("/")[::2]))
        return installation == self.installation and other is not None and queue in other.declared_queues

    def owner(self, key: Key) -> str:
        """Return the owner mark of the broker objects of a TaskQueue."""
        return owner(self.installation, key)


def _delays_returned(queues: Sequence[str], actual: Topology) -> str:
    """Return what delays messages that a worker gives back, and to which of its queues; empty if nothing does."""
    causes = ((delays_returned(queue, actual), queue) for queue in queues)
    return next((f'{cause} delays what is returned to queue "{queue}"' for cause, queue in causes if cause), "")


def _declared_generation(status: Mapping[str, Any]) -> int:
    """Return the generation whose topology is complete by the status; 0 if there is none."""
    is_complete = any(
        condition["type"] == ConditionType.TOPOLOGY_READY and condition["status"] == ConditionStatus.TRUE
        for condition in status.get("conditions", ())
    )
    return int(status.get("observedGeneration", 0)) if is_complete else 0
