"""From readings to replicas: considers what was read, and writes the number when it should be another."""

from dataclasses import dataclass
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import LastScale, States, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import RetryLater, WorkQueues
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Decision, DecisionReason, Obstacle, Workers
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.scaling.recording import Recording
from taskqueue_operator.workers.api_objects import Deployment

from .drainer import Drainer

UNDECIDED: Final = Fault(Reason.INTERNAL_ERROR, "The operator failed to decide on this TaskQueue; its log says why.")

_log = structlog.get_logger("scale")


@dataclass(frozen=True, slots=True)
class Scaler:
    """Decides on every reading, in memory; what calls for a write goes through a lane, one write per key at a time."""

    cache: Cache
    states: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    queues: WorkQueues
    drainer: Drainer

    def consider(self, key: Key) -> None:
        """Decide anew on one TaskQueue; no I/O, and no error: one that cannot be decided on never stops the others."""
        if self.cache.taskqueue(key) is None:
            return
        state = self.states[key]
        try:
            self._consider(key, state)
            if state.scaling.decision_fault is not None:
                state.scaling.decision_fault = None
                self.queues.status.add(key)
        except Exception:  # noqa: BLE001  shown by a condition of the TaskQueue
            if state.scaling.decision_fault is None:
                _log.exception("decision failed", taskqueue=str(key))
                state.scaling.decision_fault = UNDECIDED
                self.queues.status.add(key)

    def _consider(self, key: Key, state: TaskQueueState) -> None:
        scaling = state.scaling
        before = scaling.reading, scaling.decision
        self.drainer.attend(key)
        if not self._decides(key):
            self._note(key, None)
        elif _desired(scaling.decision) > _desired(before[1]):
            self.queues.scale.add(key)
        else:
            # What is refused again and again is to wait for its backoff.
            self.queues.scale.add_unless_backing_off(key)
        if _outcome(*before) != _outcome(scaling.reading, scaling.decision):
            self.queues.status.add(key)
        elif _figures(*before) != _figures(scaling.reading, scaling.decision):
            self.queues.status.add(key, state.status.figures_delay(self.clock()))

    async def scale(self, key: Key) -> None:
        """Decide, and bring the number of replicas to what was decided: up at once, down as far as workers let."""
        if self.cache.taskqueue(key) is None:
            return
        state = self.states[key]
        async with state.write_lock:
            # Once more: while it waited, the Deployment or the spec may have become another.
            if not self._decides(key) or state.scaling.decision is None:
                return
            there, decision = self.cache.deployments[key], state.scaling.decision
            unreported = state.drain.unreported_pods
            try:
                written = await self._write(key, decision)
            except Conflict:
                await self._look_again(key, there.uid)
                raise RetryLater from None
            except Fault as fault:
                self._note(key, fault)
                raise
            if state.drain.unreported_pods != unreported:
                self.queues.status.add(key)
            if written is None:
                return
            self._note(key, None)
            explanation = f"From {there.replicas} to {written} workers: {decision.explanation}"
            state.scaling.last_scale = LastScale(self.clock(), explanation)
        self._tell(key, there.replicas, written, decision)

    def _note(self, key: Key, fault: Fault | None) -> None:
        """Record why the number of replicas cannot be written; None once it can."""
        scaling = self.states[key].scaling
        before, scaling.write_fault = scaling.write_fault, fault
        if (before and before.message) != (fault and fault.message):
            self.queues.status.add(key)

    async def _write(self, key: Key, decision: Decision) -> int | None:
        """Write the number where it may be written: upwards first, so that nothing about drains delays it."""
        taskqueue, there = self.cache.taskqueue(key), self.cache.deployments[key]
        acts = taskqueue is not None and _acts(taskqueue)
        desired = decision.desired if acts else max(there.replicas, there.live)
        written = None
        if acts and desired > there.replicas:
            body = await self.cluster.scale(key, replicas=desired, generation=there.generation)
            self.cache.update_deployment(body)
            written = desired
        if not self.drainer.has_work(key, desired):
            return written
        return await self.drainer.step(key, desired, stops=decision.reason is DecisionReason.PAUSED) or written

    def _decides(self, key: Key) -> bool:
        """Decide anew, and say whether there is something to do about the number."""
        taskqueue, there = self.cache.taskqueue(key), self.cache.deployments.get(key)
        if taskqueue is None or there is None or there.owner_uid != taskqueue.uid or _ends(taskqueue):
            return False
        scaling = self.states[key].scaling
        before = scaling.decision.desired if scaling.decision is not None else there.replicas
        made = self._decide(taskqueue, there)
        scaling.reading, scaling.decision, scaling.memory = made.reading, made.decision, made.decision.memory
        self.telemetry.decided(made.decision.reason)
        if made.decision.desired != before:
            scaling.recent_decisions.append(made)
            if not _acts(taskqueue):
                _log.info("would scale", **_told(key, there.replicas, made.decision.desired, made.decision))
        if not _acts(taskqueue):
            return bool(there.mark)  # nobody stays drained for what is not carried out
        desired = made.decision.desired
        return desired > there.replicas or self.drainer.has_work(key, desired)

    def _decide(self, taskqueue: TaskQueue, there: Deployment) -> Recording:
        state, now = self.states[taskqueue.key], self.clock()
        scaling = state.scaling
        # Bounds, pauses and a fallback hold without a broker too.
        unread = Reading(now, at_least=None, at_most=None, unacked=None)
        # What the observer of another broker says, which the spec named before, is nothing about this queue.
        observer = state.connection.observer_of(taskqueue.spec.broker)
        reading = observer.reading(taskqueue.queue_name) if observer is not None else unread
        fault = scaling.scale_out_blocker = self.cache.scale_out_blocker(taskqueue.key)
        obstacle = Obstacle(DecisionReason(fault.reason.value), fault.message) if fault is not None else None
        workers, policy = Workers(there.replicas, there.ready, obstacle), scaling.policy_of(taskqueue)
        decision = decide(reading, workers, policy, scaling.memory, now)
        return Recording(now, reading, workers, policy, scaling.memory, decision)

    async def _look_again(self, key: Key, uid: str) -> None:
        body = await self.cluster.deployment(key)
        if body is None:
            self.cache.remove_deployment(key, uid)
            self.queues.reconcile.add(key)
        else:
            self.cache.update_deployment(body)

    def _tell(self, key: Key, before: int, after: int, decision: Decision) -> None:
        self.telemetry.wrote("replicas")
        self.telemetry.scaled(key, before, after, decision.reason)
        _log.info("scaled", **_told(key, before, after, decision))
        self.queues.status.add(key)


def _told(key: Key, before: int, after: int, decision: Decision) -> dict[str, object]:
    return {
        "taskqueue": str(key),
        "before": before,
        "after": after,
        "why": decision.reason,
        "decision": decision.explanation,
    }


def _desired(decision: Decision | None) -> int:
    return decision.desired if decision is not None else 0


def _outcome(reading: Reading | None, decision: Decision | None) -> object:
    """What is worth a report at once; figures alone are not."""
    doubt = (reading.doubt, reading.unreadable) if reading is not None else None
    return doubt, (decision.desired, decision.reason) if decision is not None else None


def _figures(reading: Reading | None, decision: Decision | None) -> object:
    read = (reading.at_least, reading.unacked) if reading is not None else None
    return read, decision.explanation_lines if decision is not None else None


def _acts(taskqueue: TaskQueue) -> bool:
    """Whether decisions are carried out."""
    return taskqueue.spec.scaling.mode is not Mode.DRY_RUN and not _ends(taskqueue)


def _ends(taskqueue: TaskQueue) -> bool:
    """Whether the workers are on their way out, whatever the queue holds."""
    return taskqueue.deleting and taskqueue.spec.deletion_policy is DeletionPolicy.DELETE
