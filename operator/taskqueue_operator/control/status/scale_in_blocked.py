"""Why scale-in waits, as a Fault for the user; waits of moments are not reported."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Final

from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.drain.replicaset_order import is_foreign
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import DELETION_COST, Key, quoted
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .deadlines import Deadlines

REPORTED_AFTER: Final = timedelta(seconds=30)
"""How long scale-in waits for the same reason before the status shows it."""
_NAMES_SHOWN: Final = 3


def alarm_message(alarms: Collection[str]) -> str:
    """Return what an alarm of the broker means, and the way out."""
    return (
        f"RabbitMQ has an alarm ({', '.join(sorted(alarms))}): it blocks all that publish, also reports of workers. "
        "Add this resource to the broker, or let consumers empty its queues."
    )


def scale_in_blocked(
    taskqueue: TaskQueue,
    deployment: Deployment | None,
    pods: Iterable[Pod],
    state: TaskQueueState,
    deadlines: Deadlines,
) -> Fault | None:
    """Return why scale-in waits for an unknown time, or removes workers that may be busy; None if neither."""
    plain = taskqueue.spec.worker.protocol is Protocol.PLAIN
    if plain and not taskqueue.spec.worker.acks_late:
        return Fault(
            Reason.IDLENESS_UNKNOWN,
            "The number of workers follows the queue. Scale-in removes one worker at a time, because it is unknown "
            "which workers run a task. If the workers acknowledge a task after it has finished, set "
            "spec.worker.acksLate: true.",
        )
    if deployment is None or state.scaling.decision is None:
        return None
    is_scaling_in = state.scaling.decision.desired < deployment.replicas
    unproven = (_unmatched(taskqueue, state) if plain else _unreported(state)) if is_scaling_in else None
    return (
        unproven
        or _rollout(deployment)
        or _foreign_cost(pods)
        or (_waiting(state, deadlines) if is_scaling_in else None)
    )


def _unreported(state: TaskQueueState) -> Fault | None:
    if state.connection.observer is not None and state.connection.observer.control_channel_fault is not None:
        return Fault(
            Reason.WORKERS_NOT_REPORTING,
            f"No worker is removed: {state.connection.observer.control_channel_fault.message}",
        )
    pods = state.drain.unreported_pods
    if not pods:
        return None
    if state.connection.observer is not None and state.connection.observer.alarms:
        return Fault(Reason.BROKER_ALARM, f"No worker is removed: {alarm_message(state.connection.observer.alarms)}")
    return Fault(
        Reason.WORKERS_NOT_REPORTING,
        f"{len(pods)} workers ({_names(pods)}) have not reported and will not be removed. Check that the image "
        "implements the control protocol, that each pod runs one worker process, and that it connects to the vhost of "
        "the TaskQueue as a RabbitMQ user that may write to exchange taskqueue.reports. The log of a worker with "
        "taskqueue-drain says what is missing.",
    )


def _unmatched(taskqueue: TaskQueue, state: TaskQueueState) -> Fault | None:
    fault = state.connection.observer.consumer_poll_fault if state.connection.observer is not None else None
    if fault is not None:
        return Fault(Reason.IDLENESS_UNKNOWN, f"No worker is removed: {fault.message}")
    pods = state.drain.unreported_pods
    if not pods:
        return None
    return Fault(
        Reason.IDLENESS_UNKNOWN,
        f"{len(pods)} workers ({_names(pods)}) will not be removed: RabbitMQ does not show that they consume "
        f"{quoted(state.queue_names(taskqueue))} with acknowledgements, or how many messages they hold. Check that "
        "they connect by AMQP 0-9-1, from the address of their pod or with the pod's name in the connection name, and "
        "that the operator's user has the tag monitoring, which shows connections of other users.",
    )


def _foreign_cost(pods: Iterable[Pod]) -> Fault | None:
    foreign = [pod.key for pod in pods if pod.is_active and is_foreign(pod)]
    if not foreign:
        return None
    return Fault(
        Reason.DELETION_COST_CONFLICT,
        f"Another controller (such as a node autoscaler) set {DELETION_COST} on {len(foreign)} workers "
        f"({_names(foreign)}). The operator does not overwrite it; scale-in waits while a busy worker would be removed "
        "first.",
    )


def _rollout(deployment: Deployment) -> Fault | None:
    if not deployment.progress_deadline_exceeded:
        return None
    return Fault(
        Reason.ROLLOUT_STUCK,
        "The rollout of the workers does not progress (ProgressDeadlineExceeded). Fix the new version or roll it back. "
        "Until then, workers are removed only if neither version loses a worker that may be busy.",
    )


def _waiting(state: TaskQueueState, deadlines: Deadlines) -> Fault | None:
    since = state.drain.blocked_since
    if state.drain.blocked_by is Blocker.NOTHING or since is None or not deadlines.has_passed(since + REPORTED_AFTER):
        return None
    return Fault(Reason.SCALE_IN_WAITING, f"Scale-in is waiting for {state.drain.blocked_by}.")


def _names(pods: Collection[Key]) -> str:
    return ", ".join(sorted(pod.name for pod in pods)[:_NAMES_SHOWN])
