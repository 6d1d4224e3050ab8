"""Why workers that are to go stay, in words for their user; nothing is said of what is a matter of moments."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.drain.replicaset_order import is_foreign
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import DELETION_COST, Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.workers.api_objects import Deployment, Pod

REPORTED_AFTER: Final = timedelta(seconds=30)
"""How long workers wait for the same before it is told."""
_NAMED: Final = 3


def scale_in_blocked(
    taskqueue: TaskQueue, there: Deployment | None, pods: Iterable[Pod], state: TaskQueueState, now: datetime
) -> Fault | None:
    """Say why workers stay for an unknown time, or go without being known to be idle."""
    plain = taskqueue.spec.worker.protocol is Protocol.PLAIN
    if plain and not taskqueue.spec.worker.acks_late:
        return Fault(
            Reason.IDLENESS_UNKNOWN,
            "The number of workers follows the queue; downwards one by one, since nobody knows which of them run a "
            "task. If they acknowledge a task after it is done, set spec.worker.acksLate: true.",
        )
    if there is None or state.scaling.decision is None:
        return None
    going = state.scaling.decision.desired < there.replicas
    unproved = (_unseen(taskqueue, state) if plain else _unheard(state)) if going else None
    return unproved or _stuck(there) or _overruled(pods) or (_waiting(state, now) if going else None)


def _unheard(state: TaskQueueState) -> Fault | None:
    if state.connection.observer is not None and state.connection.observer.control_channel_fault is not None:
        return Fault(
            Reason.WORKERS_NOT_REPORTING,
            f"No worker is removed: {state.connection.observer.control_channel_fault.message}",
        )
    pods = state.drain.unreported_pods
    if not pods:
        return None
    return Fault(
        Reason.WORKERS_NOT_REPORTING,
        f"{len(pods)} workers do not report ({_names(pods)}) and are not removed. Their image has to "
        "keep the control protocol, and their user needs write permission on exchange taskqueue.reports.",
    )


def _unseen(taskqueue: TaskQueue, state: TaskQueueState) -> Fault | None:
    blind = state.connection.observer.consumer_poll_fault if state.connection.observer is not None else None
    if blind is not None:
        return Fault(Reason.IDLENESS_UNKNOWN, f"No worker is removed: {blind.message}")
    pods = state.drain.unreported_pods
    if not pods:
        return None
    return Fault(
        Reason.IDLENESS_UNKNOWN,
        f"{len(pods)} workers are not removed ({_names(pods)}), as RabbitMQ does not show that they "
        f'consume "{taskqueue.queue_name}" and acknowledge, or not what they hold. They have to connect by AMQP 0-9-1, '
        "from the address of their pod or with its name in that of the connection; and to see connections of other "
        "users, the operator's user needs the tag monitoring.",
    )


def _overruled(pods: Iterable[Pod]) -> Fault | None:
    foreign = [pod.key for pod in pods if pod.is_active and is_foreign(pod)]
    if not foreign:
        return None
    return Fault(
        Reason.DELETION_COST_CONFLICT,
        f"Somebody else has given {len(foreign)} workers a {DELETION_COST} ({_names(foreign)}), such as an autoscaler "
        "of nodes. It is left alone: who is to go stays for as long as one that works would be removed before it.",
    )


def _stuck(there: Deployment) -> Fault | None:
    if not there.progress_deadline_exceeded:
        return None
    return Fault(
        Reason.ROLLOUT_STUCK,
        "The rollout of the workers does not get on (ProgressDeadlineExceeded). Until it does, or is taken back, "
        "workers are removed only where neither version loses one that may work.",
    )


def _waiting(state: TaskQueueState, now: datetime) -> Fault | None:
    since = state.drain.blocked_since
    if state.drain.blocked_by is Blocker.NOTHING or since is None or now - since < REPORTED_AFTER:
        return None
    return Fault(Reason.SCALE_IN_WAITING, f"Workers that are to go wait for {state.drain.blocked_by}.")


def _names(pods: Collection[Key]) -> str:
    return ", ".join(sorted(pod.name for pod in pods)[:_NAMED])
