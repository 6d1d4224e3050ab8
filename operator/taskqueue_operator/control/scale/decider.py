"""Decides on the present reading of a TaskQueue, in memory, and records the decision."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import WorkQueues
from taskqueue_operator.drain.dependencies import unavailable_dependencies
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import HOLD_MARGIN_SECONDS
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Decision, DecisionReason, Obstacle, Workers
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.scaling.recording import Recording
from taskqueue_operator.workers.api_objects import Deployment

_log = structlog.get_logger("scale")


@dataclass(frozen=True, slots=True)
class Decider:
    """Makes decisions without I/O."""

    cache: Cache
    states: States
    telemetry: Telemetry
    clock: Clock
    queues: WorkQueues

    def decide(self, key: Key) -> Decision | None:
        """Make a decision and record it; None if there is no Deployment of this TaskQueue to decide on."""
        taskqueue, deployment = self.cache.taskqueue(key), self.cache.deployment(key)
        if taskqueue is None or deployment is None or not deployment.serves(taskqueue):
            return None
        if _is_deleting_workers(taskqueue):
            return None
        scaling = self.states[key].scaling
        before = scaling.decision.desired if scaling.decision is not None else deployment.replicas
        if scaling.conflict.on_seen(deployment, self.clock()) and not taskqueue.owns_deployment:
            self.queues.reconcile.add(key)  # looks for another autoscaler
        made = self._recording(taskqueue, deployment)
        scaling.progress = scaling.progress.observe(made.reading, made.workers, made.policy)
        scaling.is_stalled = scaling.progress.stalled_for(made.at) > _longest_task(taskqueue)
        scaling.reading, scaling.decision, scaling.memory = made.reading, made.decision, made.decision.memory
        self.telemetry.decided(made.decision.reason)
        if made.decision.desired != before:
            scaling.recent_decisions.append(made)
            if not applies_decisions(taskqueue):
                fields = log_fields(key, deployment.replicas, made.decision.desired, made.decision)
                _log.info("would scale", **fields)
        return made.decision

    def _recording(self, taskqueue: TaskQueue, deployment: Deployment) -> Recording:
        state, now = self.states[taskqueue.key], self.clock()
        scaling = state.scaling
        # Bounds, pause and fallback hold without a broker too.
        unread = Reading(now, at_least=None, at_most=None, unacked=None)
        queues = state.queues(taskqueue) if state.connection.reads(taskqueue.spec.broker) else None
        reading = queues.reading() if queues is not None else unread
        fault = scaling.scale_out_blocker = self.cache.scale_out_blocker(taskqueue.key)
        obstacle = _obstacle(fault, state.drain.pool, now)
        workers, policy = Workers(deployment.replicas, deployment.ready, obstacle), scaling.policy_of(taskqueue)
        decision = decide(reading, workers, policy, scaling.memory, now)
        return Recording(now, reading, workers, policy, scaling.memory, decision)


def applies_decisions(taskqueue: TaskQueue) -> bool:
    """Whether decisions on a TaskQueue are written."""
    return taskqueue.spec.scaling.mode is not Mode.DRY_RUN and not _is_deleting_workers(taskqueue)


def log_fields(key: Key, before: int, after: int, decision: Decision) -> dict[str, object]:
    """Return the fields of a log line about a change of the number of workers."""
    return {
        "taskqueue": str(key),
        "before": before,
        "after": after,
        "why": decision.reason,
        "decision": decision.explanation,
    }


def _obstacle(fault: Fault | None, pool: WorkerPool | None, now: datetime) -> Obstacle | None:
    """Return why more workers could not start, or could do nothing."""
    if fault is not None:
        return Obstacle(DecisionReason(fault.reason.value), fault.message)
    missing = unavailable_dependencies(pool, now) if pool is not None else ()
    if not missing:
        return None
    names = ", ".join(f'"{name}"' for name in missing)
    message = f"at least half of the workers report that they do not reach {names}, which more workers would not change"
    return Obstacle(DecisionReason.DEPENDENCY_UNAVAILABLE, message)


def _longest_task(taskqueue: TaskQueue) -> timedelta:
    return timedelta(seconds=taskqueue.spec.worker.task_timeout_seconds + HOLD_MARGIN_SECONDS)


def _is_deleting_workers(taskqueue: TaskQueue) -> bool:
    """Whether the workers are being deleted, whatever the queue holds."""
    return taskqueue.deleting and not taskqueue.spec.deletion_policy.keeps_workers
