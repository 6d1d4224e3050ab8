"""What the operator knows of each TaskQueue beside the cache. All of it can be found out again after a restart.

Each state has one writer, a room or one module of it; all other modules only read it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from taskqueue_operator.resource.broker import Broker
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decision import Decision
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.progress import Progress
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.scaling.recording import Recording

from .consumed_queues import ConsumedQueues
from .drain_state import DrainState
from .queue_observer import QueueObserver
from .reconcile_state import ReconcileState
from .replicas_conflict import ReplicasConflict
from .status_state import StatusState

RECENT_DECISIONS: Final = 20


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


@dataclass(frozen=True, slots=True)
class LastScale:
    """A change of the number of replicas by the operator."""

    at: datetime
    explanation: str


@dataclass(slots=True)
class DecisionState:
    """The last decision and what came of it. Written by scale/decider and scale/scaler.

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
