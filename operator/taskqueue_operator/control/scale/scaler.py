"""From readings to replicas: decides on every reading, and writes the number of replicas if it is to change."""

from dataclasses import dataclass
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import LastScale, States, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import RetryLater, WorkQueues
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decision import Decision, DecisionReason
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.referenced import environment_missing

from .decider import Decider, applies_decisions, log_fields
from .drainer import Drainer

UNDECIDED: Final = Fault(Reason.INTERNAL_ERROR, "The operator failed to decide on this TaskQueue; its log says why.")

_log = structlog.get_logger("scale")


@dataclass(frozen=True, slots=True)
class Scaler:
    """Decides on every reading, in memory. Writes go through the work queue `scale`: one write per key at a time."""

    cache: Cache
    states: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    queues: WorkQueues
    decider: Decider
    drainer: Drainer

    def reevaluate(self, key: Key) -> None:
        """Decide again for one TaskQueue, without I/O. A failure is recorded and stops no decision on another one."""
        if self.cache.taskqueue(key) is None:
            return
        state = self.states[key]
        try:
            self._reevaluate(key, state)
            if state.scaling.decision_fault is not None:
                state.scaling.decision_fault = None
                self.queues.status.add(key)
        except Exception:  # noqa: BLE001  shown by a condition of the TaskQueue
            if state.scaling.decision_fault is None:
                _log.exception("decision failed", taskqueue=str(key))
                state.scaling.decision_fault = UNDECIDED
                self.queues.status.add(key)

    def _reevaluate(self, key: Key, state: TaskQueueState) -> None:
        scaling = state.scaling
        before, was_stalled = (scaling.reading, scaling.decision), scaling.is_stalled
        self.drainer.update_subscription(key)
        if self.drainer.survey(key):
            self.queues.status.add(key)
        decision = self.decider.decide(key)
        conflict = self._conflict(key)
        if conflict is not None:
            self._set_write_fault(key, conflict)
        elif decision is None or not self._needs_write(key, decision):
            self._set_write_fault(key, None)
        elif decision.desired > _desired(before[1]):
            self.queues.scale.add(key)
        else:
            # Do not bypass the backoff of a write that keeps failing.
            self.queues.scale.add_unless_backing_off(key)
        if (_outcome(*before), was_stalled) != (_outcome(scaling.reading, scaling.decision), scaling.is_stalled):
            self.queues.status.add(key)
        elif _figures(*before) != _figures(scaling.reading, scaling.decision):
            self.queues.status.add(key, state.status.figures_delay(self.clock()))

    async def scale(self, key: Key) -> None:
        """Decide again, and write replicas: scale out at once, scale in as far as workers are drained.

        Raises:
            RetryLater: The Deployment has changed.
            Fault: The API server refused a write, or did not answer.
        """
        if self.cache.taskqueue(key) is None:
            return
        state = self.states[key]
        async with state.write_lock:
            # Again: the Deployment or the spec may have changed while the key waited.
            decision = self.decider.decide(key)
            if decision is None or not self._needs_write(key, decision):
                return
            before = self.cache.deployment(key)
            if before is None or self._conflict(key) is not None:
                return
            shown = state.drain.shown
            try:
                written = await self._write(key, before, decision)
            except Conflict:
                state.scaling.conflict.on_write(None, self.clock())
                await self._refresh_deployment(key, before)
                raise RetryLater from None
            except Fault as fault:
                state.scaling.conflict.on_write(None, self.clock())
                self._set_write_fault(key, fault)
                raise
            finally:
                if state.drain.shown != shown:
                    self.queues.status.add(key)
            self._set_write_fault(key, None)
            if written is None:
                return
            state.scaling.conflict.on_write(written, self.clock())
            explanation = f"From {before.replicas} to {written} workers: {decision.explanation}"
            state.scaling.last_scale = LastScale(self.clock(), explanation)
        self._report_scale(key, before.replicas, written, decision)

    def _set_write_fault(self, key: Key, fault: Fault | None) -> None:
        """Record why the number of replicas cannot be written; None once it can."""
        scaling = self.states[key].scaling
        before, scaling.write_fault = scaling.write_fault, fault
        if (before and before.message) != (fault and fault.message):
            self.queues.status.add(key)

    def _conflict(self, key: Key) -> Fault | None:
        """Return why the number of replicas is left to another client at present; None if it is not."""
        return self.states[key].scaling.conflict.fault(str(self.cache.deployment_key(key)), self.clock())

    async def _write(self, key: Key, deployment: Deployment, decision: Decision) -> int | None:
        """Write replicas. A scale-out comes first, so that no drain delays it."""
        taskqueue = self.cache.taskqueue(key)
        applies = taskqueue is not None and applies_decisions(taskqueue)
        desired, written = decision.desired, None
        if applies and desired > deployment.replicas:
            started = self.cache.unrecorded_start(key)
            body = await self.cluster.scale(
                deployment.key,
                replicas=desired,
                taskqueue=key.name,
                generation=deployment.generation,
                started_template=started,
            )
            self.cache.update_deployment(body)
            written = desired
        kept = _kept(taskqueue, deployment, decision)
        if not self.drainer.has_work(key, kept):
            return written
        drained = await self.drainer.execute(key, kept, paused=decision.reason is DecisionReason.PAUSED)
        return written if drained is None else drained

    def _needs_write(self, key: Key, decision: Decision) -> bool:
        """Whether replicas or drains differ from what this decision requires."""
        taskqueue, deployment = self.cache.taskqueue(key), self.cache.deployment(key)
        if taskqueue is None or deployment is None:
            return False
        if not taskqueue.owns_deployment and self.states[key].reconcile.unshared_uid != deployment.uid:
            return False
        if not applies_decisions(taskqueue):
            return bool(deployment.drain_token)  # no worker stays drained for a decision that is not applied
        kept = _kept(taskqueue, deployment, decision)
        return decision.desired > deployment.replicas or self.drainer.has_work(key, kept)

    async def _refresh_deployment(self, key: Key, before: Deployment) -> None:
        body = await self.cluster.deployment(before.key)
        if body is None:
            self.cache.remove_deployment(before.key, before.uid)
        else:
            self.cache.update_deployment(body)
        self.queues.reconcile.add(key)  # the event of what has changed shows nothing new any more

    def _report_scale(self, key: Key, before: int, after: int, decision: Decision) -> None:
        self.telemetry.wrote("replicas")
        self.telemetry.scaled(key, before, after, decision.reason)
        _log.info("scaled", **log_fields(key, before, after, decision))
        self.queues.status.add(key)


def _desired(decision: Decision | None) -> int:
    return decision.desired if decision is not None else 0


def _outcome(reading: Reading | None, decision: Decision | None) -> object:
    """What is written to the status at once if it changes; figures alone are not."""
    doubt = (reading.doubt, reading.unreadable) if reading is not None else None
    return doubt, (decision.desired, decision.reason) if decision is not None else None


def _figures(reading: Reading | None, decision: Decision | None) -> object:
    read = (reading.at_least, reading.unacked) if reading is not None else None
    return read, decision.explanation_lines if decision is not None else None


def _kept(taskqueue: TaskQueue | None, deployment: Deployment, decision: Decision) -> int:
    """Return down to how many workers may be removed; none if the workers cannot keep the control protocol."""
    present = max(deployment.replicas, deployment.current_replicas)
    if taskqueue is None or not applies_decisions(taskqueue):
        return present
    return max(present if environment_missing(taskqueue, deployment) else 0, decision.desired)
