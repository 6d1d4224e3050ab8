"""What the operator knows of each TaskQueue beside the cache. All of it can be found out again after a restart.

Each state has one writer, a room or one module of it; all other modules only read it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance
from taskqueue_operator.resource.broker import Broker
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decision import Decision
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.progress import Progress
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.scaling.recording import Recording
from taskqueue_operator.topology.migration import Migration
from taskqueue_operator.topology.objects import Policy as BrokerPolicy
from taskqueue_operator.topology.objects import Topology

from .consumed_queues import ConsumedQueues
from .queue_observer import QueueObserver
from .replicas_conflict import ReplicasConflict

RECENT_DECISIONS: Final = 20
FIGURES_PERIOD: Final = timedelta(seconds=30)
"""Time between two status writes that change figures only."""


@dataclass(slots=True)
class ConnectionState:
    """The connection to the broker. Written by reconcile/connection.

    Attributes:
        observer: Reads the queue.
        broker: `spec.broker` as it was when the observer was selected.
        connected_at: Since when this observer reads the queue.
    """

    observer: QueueObserver | None = None
    broker: Broker | None = None
    connected_at: datetime | None = None

    def reads(self, broker: Broker) -> bool:
        """Whether the observer reads this broker; that of an earlier `spec.broker` reads another queue."""
        return self.broker == broker


class Restoration(NamedTuple):
    """The operator has set fields of the Deployment again that another client had changed.

    Attributes:
        at: When it did.
        times: How often in a row.
        message: Which fields, and who had changed them.
    """

    at: datetime
    times: int
    message: str


class Repair(NamedTuple):
    """The operator has repaired a topology that had drifted.

    Attributes:
        number: How many times it has done so.
        message: What had drifted.
    """

    number: int
    message: str


@dataclass(slots=True)
class ReconcileState:
    """The outcome of the reconcile stages. Written by reconcile.

    Attributes:
        observed_generation: The last generation for which all stages ran, with or without faults.
        topology_generation: The generation whose topology was last found on the broker; None requests a check.
        declared_generation: The same, whether a check is requested or not: what of it is missing now has drifted. 0 if
            there is none on this broker; None if that is unknown.
        drifted: The topology that showed a drift, for the next reconcile to begin with; None if it has to read.
        topology_digest: Digest of the topology of the vhost that was last found to match.
        policies: The policies of the operator for the queue and its dead-letter queue that were there then, by name.
        delays_returned: What delays messages that a worker gives back, and to which queue; empty if nothing does.
        not_created: The exchange and the queues that existed then and that no operator has created.
        migration: The migration of the queue as last seen; None if there is none.
        interim_queue: The interim queue, while the broker has one for this TaskQueue; None otherwise.
        repair: The last repair of the topology; None if there was none.
        faults: The fault of each stage, by the condition that shows it.
        deletion_blocker: What the deletion waits for; None when it does not wait.
        unreachable_since: Since when the broker has not answered a deletion.
        unowned_fields: Fields that the API server does not show as the operator's, right after it has applied them.
        restoration: The last restoration of the Deployment; None if there was none.
    """

    observed_generation: int | None = None
    topology_generation: int | None = None
    declared_generation: int | None = None
    drifted: Topology | None = None
    topology_digest: bytes = b""
    policies: Mapping[str, BrokerPolicy] = field(default_factory=dict)
    delays_returned: str = ""
    not_created: tuple[str, ...] = ()
    migration: Migration | None = None
    interim_queue: str | None = None
    repair: Repair | None = None
    faults: dict[ConditionType, Fault] = field(default_factory=dict)
    deletion_blocker: Fault | None = None
    unreachable_since: datetime | None = None
    unowned_fields: frozenset[str] = frozenset()
    restoration: Restoration | None = None

    def request_topology_check(self) -> bool:
        """Have the next reconcile compare the topology with the broker; returns False if that is due already."""
        requested = self.topology_generation is not None
        self.topology_generation = None
        return requested

    def take_drifted(self) -> Topology | None:
        """Return the topology that showed a drift, once."""
        drifted, self.drifted = self.drifted, None
        return drifted

    def forget_topology(self) -> None:
        """Have the next reconcile declare the topology on another broker."""
        self.topology_generation, self.declared_generation, self.drifted = None, 0, None
        self.migration = self.interim_queue = None


@dataclass(frozen=True, slots=True)
class LastScale:
    """A change of the number of replicas by the operator."""

    at: datetime
    explanation: str


@dataclass(slots=True)
class DecisionState:
    """The last decision and what came of it. Written by scale/scaler.

    Attributes:
        reading: The reading that the last decision rests on.
        scale_out_blocker: Why more workers would not start, as the last decision knew it.
        decision: The last decision.
        memory: What the next decision needs to know of earlier ones.
        recent_decisions: The last decisions that changed the desired number, with all their inputs.
        progress: Since when no message has left the queue although all allowed workers hold some.
        is_stalled: Whether that has been so for longer than a task may take.
        conflict: What other clients did to the number of replicas.
        last_scale: The last change of the number of replicas; None before the first one.
        decision_fault: Why no decision could be made.
        write_fault: Why the number of replicas could not be written.
    """

    reading: Reading | None = None
    scale_out_blocker: Fault | None = None
    decision: Decision | None = None
    memory: Memory = field(default_factory=Memory)
    recent_decisions: deque[Recording] = field(default_factory=lambda: deque(maxlen=RECENT_DECISIONS))
    progress: Progress = field(default_factory=Progress)
    is_stalled: bool = False
    conflict: ReplicasConflict = field(default_factory=ReplicasConflict)
    last_scale: LastScale | None = None
    decision_fault: Fault | None = None
    write_fault: Fault | None = None
    _policy: tuple[TaskQueue, Policy] | None = None

    def policy_of(self, taskqueue: TaskQueue) -> Policy:
        """Return the scaling policy of a TaskQueue; derived once per version of the TaskQueue."""
        if self._policy is None or self._policy[0] is not taskqueue:
            self._policy = taskqueue, Policy.of(taskqueue)
        return self._policy[1]


@dataclass(frozen=True, slots=True)
class Interruption:
    """A worker that did not stop in good order at SIGTERM, so that a task may have been cut.

    Attributes:
        pod: Its pod.
        template_hash: The version of the template of that pod.
        what: What it did instead, as the end of a sentence.
    """

    pod: Key
    template_hash: str
    what: str


def _reports() -> Allowance:
    return Allowance(per_second=bounds.TASKQUEUE_REPORTS_PER_SECOND, at_once=bounds.TASKQUEUE_REPORTS_AT_ONCE)


def _events() -> Allowance:
    return Allowance(per_second=bounds.TASKQUEUE_EVENTS_PER_SECOND, at_once=bounds.TASKQUEUE_EVENTS_AT_ONCE)


def _report_log_lines() -> Allowance:
    return Allowance(per_second=bounds.REPORT_LOG_LINES_PER_SECOND, at_once=bounds.REPORT_LOG_LINES_AT_ONCE)


@dataclass(slots=True)
class DrainState:
    """The workers, and what keeps the operator from removing them. Written by scale/drainer.

    Attributes:
        pool: The workers of the Deployment.
        pool_uid: UID of that Deployment; another one of the same name has a pool of its own.
        reports: How many reports of the workers may be read.
        report_log_lines: How many log lines about reports may be written.
        blocked_by: Why scale-in waits, if for longer than moments.
        blocked_since: Since when it waits for that.
        unreported_pods: Pods that must report before they can be removed, and do not.
        interruption: The last Plain worker that did not stop in good order at SIGTERM.
        interrupted: UIDs of the terminating pods of such workers.
        other_queues: Queues that Plain workers consume beside that of the TaskQueue.
        token_replaced_at: When a drain annotation of a later leadership was last replaced: there is no such leader.
    """

    pool: WorkerPool | None = None
    pool_uid: str = ""
    reports: Allowance = field(default_factory=_reports)
    report_log_lines: Allowance = field(default_factory=_report_log_lines)
    blocked_by: Blocker = Blocker.NOTHING
    blocked_since: datetime | None = None
    unreported_pods: tuple[Key, ...] = ()
    interruption: Interruption | None = None
    interrupted: set[str] = field(default_factory=set)
    other_queues: tuple[str, ...] = ()
    token_replaced_at: datetime | None = None

    @property
    def shown(self) -> tuple[object, ...]:
        """What conditions show of it."""
        dead_letters_blocked = self.pool.dead_letters_blocked if self.pool is not None else frozenset()
        return self.blocked_by, self.unreported_pods, self.interruption, dead_letters_blocked


class PendingEvent(NamedTuple):
    """An Event that is to be posted."""

    reason: str
    message: str
    warning: bool


@dataclass(slots=True)
class StatusState:
    """The status subresource. Written by status/writer.

    Attributes:
        written_at: When the status was last written.
        conditions: The conditions as last known, written or not; None before they are known.
        figures_at: When a change of figures alone is next worth a write; None: now.
        events: Events to post after the status; the oldest is dropped if too many wait.
        event_allowance: How many Events may be posted.
        told: The last restoration and the last repair for which an Event was made, by the reason of the Event.
        dead_letters_grew_at: When the status last showed more dead letters than before.
        not_consuming_since: Since when messages wait and no worker consumes.
    """

    written_at: datetime | None = None
    conditions: list[dict[str, Any]] | None = None
    figures_at: datetime | None = None
    events: deque[PendingEvent] = field(default_factory=lambda: deque(maxlen=bounds.PENDING_EVENTS))
    event_allowance: Allowance = field(default_factory=_events)
    told: dict[str, Restoration | Repair] = field(default_factory=dict)
    dead_letters_grew_at: datetime | None = None
    not_consuming_since: datetime | None = None

    def add_event(self, event: PendingEvent, now: float) -> None:
        """Post an Event after the status, unless there were too many lately: the conditions tell of it anyway."""
        if self.event_allowance.take(now):
            self.events.append(event)

    def figures_delay(self, now: datetime) -> float:
        """Return the seconds until a change of figures alone may be written."""
        return 0.0 if self.figures_at is None else max(0.0, (self.figures_at - now).total_seconds())


@dataclass(slots=True)
class TaskQueueState:
    """What is known of one TaskQueue.

    Attributes:
        write_lock: Held while the Deployment is read and written, so that reconcile and scale never overlap.
    """

    connection: ConnectionState = field(default_factory=ConnectionState)
    reconcile: ReconcileState = field(default_factory=ReconcileState)
    scaling: DecisionState = field(default_factory=DecisionState)
    drain: DrainState = field(default_factory=DrainState)
    status: StatusState = field(default_factory=StatusState)
    write_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def queue_names(self, taskqueue: TaskQueue) -> tuple[str, ...]:
        """Return the names of all queues that its workers consume now; no other place knows them."""
        interim = self.reconcile.interim_queue
        return (*taskqueue.queue_names, interim) if interim is not None else taskqueue.queue_names

    def queues(self, taskqueue: TaskQueue) -> ConsumedQueues | None:
        """Return these queues as they are read now; None without a connection."""
        observer = self.connection.observer
        return ConsumedQueues(observer, self.queue_names(taskqueue)) if observer is not None else None


class States(dict[Key, TaskQueueState]):
    """The states of all TaskQueues; reading a missing key creates an empty state."""

    def __missing__(self, key: Key) -> TaskQueueState:
        """Create an empty state."""
        self[key] = TaskQueueState()
        return self[key]
