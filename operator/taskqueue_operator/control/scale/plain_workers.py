"""Plain workers: evidence that they are idle, and what no protocol prevents.

They may ignore SIGTERM, die of it, or consume other queues.
"""

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from taskqueue_operator.control.consumed_queues import ConsumedQueues
from taskqueue_operator.control.drain_state import DrainState, Interruption
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.drain.consumers import (
    Activity,
    ConsumerSnapshot,
    IdleEvidence,
    consuming_after_sigterm,
    idle_evidence,
    other_queues,
)
from taskqueue_operator.drain.context import DrainContext
from taskqueue_operator.drain.plain import with_idle_evidence
from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.names import quoted
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.workers.api_objects import Pod

INTERRUPTED_BY: Final = {
    137: "ended with exit code 137, killed: it did not stop within its grace period",
    143: "ended with exit code 143: SIGTERM ended it at once",
}

_log = structlog.get_logger("drain")


def is_plain(taskqueue: TaskQueue) -> bool:
    """Whether the workers do not implement the control protocol."""
    return taskqueue.spec.worker.protocol is Protocol.PLAIN


def with_broker_evidence(taskqueue: TaskQueue, queues: ConsumedQueues | None, context: DrainContext) -> DrainContext:
    """Derive idleness from consumer snapshots of the broker, which needs `acksLate`."""
    if not taskqueue.spec.worker.acks_late:
        return with_idle_evidence(context, None)
    if queues is None:
        return with_idle_evidence(context, IdleEvidence())
    snapshots = queues.observer.consumer_snapshots()
    return with_idle_evidence(context, idle_evidence(snapshots, queues.names, context.pods, context.now))


def record_endings(drain: DrainState, pods: Collection[Pod], telemetry: Telemetry) -> None:
    """Record the terminating workers whose exit code says that they did not stop in good order.

    What is recorded ends with the template: when all active pods are of another ReplicaSet.
    """
    drain.interrupted &= {pod.uid for pod in pods}
    for pod in pods:
        if pod.deleting and pod.exit_code in INTERRUPTED_BY:
            _record(drain, pod, INTERRUPTED_BY[pod.exit_code], telemetry)
    present = {pod.replica_set for pod in pods if pod.is_active}
    if drain.interruption is not None and present and drain.interruption.replica_set not in present:
        drain.interruption = None


async def stop_consumers(
    state: TaskQueueState, pods: Collection[Pod], queues: tuple[str, ...], telemetry: Telemetry
) -> None:
    """Record the workers that still consume although SIGTERM is long past, and close the connections of idle ones.

    RabbitMQ then gives back nothing, since they hold no message. Without that they would take messages until they are
    killed. A busy one keeps its connection until it is idle.
    """
    observer, pool = state.connection.observer, state.drain.pool
    if observer is None or pool is None or not pool.terminating_since:
        return
    snapshots = observer.consumer_snapshots()
    if not snapshots:
        return
    snapshot, by_uid = snapshots[-1], {pod.uid: pod for pod in pods if not pod.finished}
    consuming = consuming_after_sigterm(snapshot, queues, by_uid.values(), pool.terminating_since)
    for uid in consuming:
        _record(state.drain, by_uid[uid], f"continues to consume {quoted(queues)} after SIGTERM", telemetry)
    await _close_idle(snapshot, consuming, by_uid, observer)


def survey_queues(drain: DrainState, pods: Collection[Pod], queues: tuple[str, ...], observer: QueueObserver) -> bool:
    """Record which other queues the workers consume; returns whether that has changed. Without workers it stays."""
    active = [pod for pod in pods if pod.is_active]
    snapshot = observer.survey_consumers() if active else None
    if snapshot is None:
        return False
    before, drain.other_queues = drain.other_queues, other_queues(snapshot, queues, active)
    return before != drain.other_queues


async def _close_idle(
    snapshot: ConsumerSnapshot, consuming: Mapping[str, Activity], pods: Mapping[str, Pod], observer: QueueObserver
) -> None:
    own = snapshot.own_connections(pods.values())
    idle = [uid for uid, activity in consuming.items() if activity is Activity.IDLE]
    names = [connection.name for uid in idle for connection in own[uid]]
    if not names:
        return
    try:
        await observer.vhost.close_connections(names)
    except BrokerFault as fault:
        _log.warning("connections of a terminating worker not closed", detail=fault.message)


def _record(drain: DrainState, pod: Pod, what: str, telemetry: Telemetry) -> None:
    if pod.uid in drain.interrupted:
        return
    drain.interrupted.add(pod.uid)
    drain.interruption = Interruption(pod.key, pod.template_hash, pod.replica_set, what)
    telemetry.removed(RemovedState.INTERRUPTED)
    _log.warning("worker interrupted", taskqueue=f"{pod.key.namespace}/{pod.taskqueue}", pod=pod.key.name, detail=what)
