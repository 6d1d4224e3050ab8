"""Collects what the conditions of a TaskQueue are built from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.control.cache import Cache, CachedTaskQueue
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.resource.conditions import ConditionStatus, ConditionType
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.scaling.decision import Decision
from taskqueue_operator.scaling.reading import READING_WINDOW, Reading
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.not_consuming import CONSUMING_WITHIN, has_no_consumer, not_consuming
from taskqueue_operator.workers.rollout import unfinished_rollout
from taskqueue_operator.workers.startup_problems import unavailable_reason

from .blocked_dead_letters import blocked_dead_letters
from .deadlines import Deadlines
from .migration_progress import migration_progress
from .scale_in_blocked import scale_in_blocked
from .scaling_warnings import ADVICE, scaling_warning

FIRST_READING: Final = READING_WINDOW + timedelta(seconds=8)
"""When a readable queue has a complete reading at the latest; includes a sweep period and some delay."""

CONSUMERS_PERIOD: Final = timedelta(seconds=15)
"""How often the number of consumers is looked at while there are none."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What the conditions are built from.

    Attributes:
        is_observed: Whether all reconcile stages ran for the present generation.
        faults: The fault of each stage; under Ready, that of the resource as a whole.
        deletion_blocker: What the deletion waits for.
        conclusive: Whether the queue was read for long enough to report a doubt.
        deployment: The Deployment of the workers.
        scale_out_blocker: Why more workers would not start.
        scale_in_blocked: Why scale-in waits for an unknown time, or removes workers that may be busy.
        reading: The reading that the decision rests on.
        decision: The last decision.
        dead_letters: Number of messages in the dead-letter queue.
        delayed: Number of messages that wait for a retry or for their dead-lettering, at most.
        parked: Number of retries in the parking queue of the vhost.
        alarms: Resources for which the broker has an alarm.
        mode: The scaling mode of the spec.
        not_created: The exchange and the queues that no operator has created.
        adopts: Whether they count as those of the operator.
        migration: What the migration of the queue does now; empty without one.
        rollout: What this generation still needs before it is ready for the first time.
    """

    is_observed: bool
    faults: dict[ConditionType, Fault]
    deletion_blocker: Fault | None = None
    conclusive: bool = False
    deployment: Deployment | None = None
    scale_out_blocker: Fault | None = None
    scale_in_blocked: Fault | None = None
    reading: Reading | None = None
    decision: Decision | None = None
    dead_letters: int | None = None
    delayed: int | None = None
    parked: int = 0
    alarms: frozenset[str] = frozenset()
    mode: Mode = Mode.AUTO
    not_created: tuple[str, ...] = ()
    adopts: bool = False
    migration: str = ""
    rollout: Fault | None = None


def collect(seen: CachedTaskQueue, state: TaskQueueState, cache: Cache, deadlines: Deadlines) -> StatusInputs:
    """Return what is known now; `deadlines` remembers when time alone changes it."""
    key, taskqueue = seen.key, seen.parsed if isinstance(seen.parsed, TaskQueue) else None
    deployment, pods = cache.deployment(key), cache.pods(key)
    return StatusInputs(
        is_observed=state.reconcile.observed_generation == seen.generation,
        faults=_faults(taskqueue, state) | _workers_fault(seen, state, cache, deadlines),
        deletion_blocker=state.reconcile.deletion_blocker,
        conclusive=_is_conclusive(state, deadlines),
        deployment=deployment,
        scale_out_blocker=cache.scale_out_blocker(key),
        scale_in_blocked=_scaling_notice(taskqueue, deployment, pods, state, deadlines),
        reading=state.scaling.reading,
        decision=state.scaling.decision,
        dead_letters=dead_letters(taskqueue, state),
        delayed=delayed(taskqueue, state),
        parked=parked(state),
        alarms=state.connection.observer.alarms if state.connection.observer is not None else frozenset(),
        mode=taskqueue.spec.scaling.mode if taskqueue is not None else Mode.AUTO,
        not_created=state.reconcile.not_created,
        adopts=taskqueue is not None and taskqueue.adopts,
        migration=migration_progress(state),
        rollout=unfinished_rollout(deployment) if deployment is not None and not _was_ready(seen) else None,
    )


def _scaling_notice(
    taskqueue: TaskQueue | None,
    deployment: Deployment | None,
    pods: Iterable[Pod],
    state: TaskQueueState,
    deadlines: Deadlines,
) -> Fault | None:
    """Return what is wrong while the number of workers follows the queue; advice comes last."""
    if taskqueue is None:
        return None
    warning = scaling_warning(taskqueue, deployment, state)
    blocked = scale_in_blocked(taskqueue, deployment, pods, state, deadlines)
    return (blocked or warning) if warning is None or warning.reason in ADVICE else warning


def _was_ready(seen: CachedTaskQueue) -> bool:
    """Whether this generation has been ready: workers that start later, at a scale-out, do not end that."""
    return any(
        (condition["type"], condition["status"], condition.get("observedGeneration"))
        == (ConditionType.READY, ConditionStatus.TRUE, seen.generation)
        for condition in seen.status.get("conditions", ())
    )


def _faults(taskqueue: TaskQueue | None, state: TaskQueueState) -> dict[ConditionType, Fault]:
    faults = dict(state.reconcile.faults)
    if taskqueue is None:
        return faults
    read_fault = _read_fault(taskqueue, state)
    if read_fault is not None and not _is_secret_fault(faults.get(ConditionType.BROKER_REACHABLE)):
        faults[ConditionType.BROKER_REACHABLE] = read_fault
    return faults | _scaling_fault(state, faults)


def _workers_fault(
    seen: CachedTaskQueue, state: TaskQueueState, cache: Cache, deadlines: Deadlines
) -> dict[ConditionType, Fault]:
    """Return why workers do not start, consume or settle, unless the Deployment itself could not be written."""
    type_, deployment, pods = ConditionType.WORKERS_AVAILABLE, cache.deployment(seen.key), cache.pods(seen.key)
    fault: Fault | None = None
    queues: tuple[str, ...] = ()
    if isinstance(seen.parsed, TaskQueue):
        queues = *state.queue_names(seen.parsed), *seen.parsed.dead_letter_queues
        idle = _not_consuming(seen.parsed, deployment, pods, state, deadlines)
        fault = idle or blocked_dead_letters(seen.parsed, state, seen.status, deadlines)
    fault = unavailable_reason(deployment, pods, started=cache.has_started(seen.key), queues=queues) or fault
    return {type_: fault} if fault is not None and type_ not in state.reconcile.faults else {}


def _not_consuming(
    taskqueue: TaskQueue,
    deployment: Deployment | None,
    pods: Iterable[Pod],
    state: TaskQueueState,
    deadlines: Deadlines,
) -> Fault | None:
    queues, reading, status = state.queues(taskqueue), state.scaling.reading, state.status
    unconsumed = queues.without_consumer() if queues is not None else ()
    if len(state.queue_names(taskqueue)) > 1 and taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE:
        unconsumed = ()  # while tasks take all slots, such workers consume only some of their queues, and are ready
    messages_wait = reading is not None and bool(reading.at_least)
    if deployment is None or not messages_wait or not has_no_consumer(deployment, pods, unconsumed):
        status.not_consuming_since = None
        return None
    if status.not_consuming_since is None:
        status.not_consuming_since = deadlines.now
    if not deadlines.has_passed(status.not_consuming_since + CONSUMING_WITHIN):
        return None
    deadlines.has_passed(deadlines.now + CONSUMERS_PERIOD)  # a new consumer is no event
    return not_consuming(taskqueue, pods, unconsumed)


def dead_letters(taskqueue: TaskQueue | None, state: TaskQueueState) -> int | None:
    """Return the number of messages in the dead-letter queue; that of external queues is not known."""
    observer = state.connection.observer
    return observer.dead_letters(taskqueue.key) if observer is not None and taskqueue is not None else None


def delayed(taskqueue: TaskQueue | None, state: TaskQueueState) -> int | None:
    """Return the number of messages that are neither ready nor unacked, at most; None if it is unknown."""
    reading, queues = state.scaling.reading, state.queues(taskqueue) if taskqueue is not None else None
    if queues is None or reading is None:
        return None
    retries = queues.delayed()
    return None if retries is None else retries + reading.deferred


def parked(state: TaskQueueState) -> int:
    """Return the number of retries in the parking queue of the vhost, as far as it is known."""
    return state.connection.observer.parked if state.connection.observer is not None else 0


def _read_fault(taskqueue: TaskQueue, state: TaskQueueState) -> Fault | None:
    queues = state.queues(taskqueue)
    return queues.fault() if queues is not None else None


def _is_conclusive(state: TaskQueueState, deadlines: Deadlines) -> bool:
    """Whether doubts may be reported: in the first seconds after a restart every queue is in doubt."""
    since, reading = _readable_since(state), state.scaling.reading
    if since is None:
        return False
    return (reading is not None and reading.at_most is not None) or deadlines.has_passed(since + FIRST_READING)


def _readable_since(state: TaskQueueState) -> datetime | None:
    """Return since when the queue could be read."""
    return state.connection.connected_at or state.scaling.memory.began


def _scaling_fault(state: TaskQueueState, faults: Mapping[ConditionType, Fault]) -> dict[ConditionType, Fault]:
    """Return what keeps decisions from being made or written; an unreadable schedule explains a failed decision."""
    type_, scaling = ConditionType.SCALING_ACTIVE, state.scaling
    fault = scaling.write_fault or faults.get(type_) or scaling.decision_fault
    return {type_: fault} if fault is not None else {}


def _is_secret_fault(fault: Fault | None) -> bool:
    """Whether the Secret is at fault: then the fault of an observer with its former content does not matter."""
    return fault is not None and fault.reason in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}
