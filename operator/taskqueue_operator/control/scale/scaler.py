"""From readings to replicas: considers what was read, and writes the number when it should be another."""

from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.control.status.writer import figures_wait
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import RetryLater, WorkQueue
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.conditions import ConditionType
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


class Lanes(Protocol):
    """Where a decision goes on to."""

    reconciling: WorkQueue
    scaling: WorkQueue
    reporting: WorkQueue


@dataclass(frozen=True, slots=True)
class Scaler:
    """Decides on every reading, in memory; what calls for a write goes through a lane, one write per key at a time."""

    cache: Cache
    records: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    lanes: Lanes
    drainer: Drainer

    def consider(self, key: Key) -> None:
        """Decide anew on one TaskQueue; no I/O, and no error: one that cannot be decided on never stops the others."""
        if self.cache.taskqueue(key) is None:
            return
        faults = self.records[key].faults
        try:
            self._consider(key, self.records[key])
            if faults.get(ConditionType.SCALING_ACTIVE) is UNDECIDED:
                del faults[ConditionType.SCALING_ACTIVE]
                self.lanes.reporting.add(key)
        except Exception:  # noqa: BLE001  told on the TaskQueue itself
            if ConditionType.SCALING_ACTIVE not in faults:
                _log.exception("not decided", taskqueue=str(key))
                faults[ConditionType.SCALING_ACTIVE] = UNDECIDED
                self.lanes.reporting.add(key)

    def _consider(self, key: Key, record: TaskQueueState) -> None:
        before = record.reading, record.decision
        self.drainer.update_subscription(key)
        if not self._decides(key):
            self._note(key, None)
        elif _desired(record.decision) > _desired(before[1]):
            self.lanes.scaling.add(key)
        else:
            # What is refused again and again is to wait for its backoff.
            self.lanes.scaling.offer(key)
        if _outcome(*before) != _outcome(record.reading, record.decision):
            self.lanes.reporting.add(key)
        elif _figures(*before) != _figures(record.reading, record.decision):
            self.lanes.reporting.add(key, figures_wait(record, self.clock()))

    async def scale(self, key: Key) -> None:
        """Decide, and bring the number of replicas to what was decided: up at once, down as far as workers let."""
        if self.cache.taskqueue(key) is None:
            return
        record = self.records[key]
        async with record.writing:
            # Once more: while it waited, the Deployment or the spec may have become another.
            if not self._decides(key) or record.decision is None:
                return
            there, decision, silent = self.cache.deployments[key], record.decision, record.silent
            try:
                written = await self._write(key, decision)
            except Conflict:
                await self._look_again(key, there.uid)
                raise RetryLater from None
            except Fault as fault:
                self._note(key, fault)
                raise
            if record.silent != silent:
                self.lanes.reporting.add(key)
            if written is None:
                return
            self._note(key, None)
            record.scaled_at = self.clock()
            record.scaled = f"From {there.replicas} to {written} workers: {decision.explanation}"
        self._tell(key, there.replicas, written, decision)

    def _note(self, key: Key, fault: Fault | None) -> None:
        """Tell that the number could not be written, or no longer."""
        faults = self.records[key].faults
        known = faults.get(ConditionType.SCALING_ACTIVE)
        if fault is not None and (known is None or known.message != fault.message):
            faults[ConditionType.SCALING_ACTIVE] = fault
            self.lanes.reporting.add(key)
        elif fault is None and known is not None and known.reason is Reason.API_UNAVAILABLE:
            del faults[ConditionType.SCALING_ACTIVE]
            self.lanes.reporting.add(key)

    async def _write(self, key: Key, decision: Decision) -> int | None:
        """Write the number where it may be written: upwards first, so that nothing about drains delays it."""
        taskqueue, there = self.cache.taskqueue(key), self.cache.deployments[key]
        acts = taskqueue is not None and _acts(taskqueue)
        desired = decision.desired if acts else max(there.replicas, there.current_replicas)
        written = None
        if acts and desired > there.replicas:
            body = await self.cluster.scale(key, replicas=desired, generation=there.generation)
            self.cache.see_deployment(body)
            written = desired
        if not self.drainer.has_work(key, desired):
            return written
        return await self.drainer.execute(key, desired, paused=decision.why is DecisionReason.PAUSED) or written

    def _decides(self, key: Key) -> bool:
        """Decide anew, and say whether there is something to do about the number."""
        taskqueue, there = self.cache.taskqueue(key), self.cache.deployments.get(key)
        if taskqueue is None or there is None or there.owner_uid != taskqueue.uid or _ends(taskqueue):
            return False
        record = self.records[key]
        before = record.decision.desired if record.decision is not None else there.replicas
        made = self._decide(taskqueue, there)
        record.reading, record.decision, record.memory = made.reading, made.decision, made.decision.memory
        self.telemetry.decided(made.decision.why)
        if made.decision.desired != before:
            record.changes.append(made)
            if not _acts(taskqueue):
                _log.info("would scale", **_told(key, there.replicas, made.decision.desired, made.decision))
        if not _acts(taskqueue):
            return bool(there.drain_token)  # nobody stays drained for what is not carried out
        desired = made.decision.desired
        return desired > there.replicas or self.drainer.has_work(key, desired)

    def _decide(self, taskqueue: TaskQueue, there: Deployment) -> Recording:
        record, now = self.records[taskqueue.key], self.clock()
        # Bounds, pauses and a fallback hold without a broker too.
        unread = Reading(now, at_least=None, at_most=None, unacked=None)
        # What the observer of another broker says, which the spec named before, is nothing about this queue.
        observer = record.observer if record.broker == taskqueue.spec.broker else None
        reading = observer.reading(taskqueue.queue_name) if observer is not None else unread
        fault = record.obstacle = self.cache.obstacle(taskqueue.key)
        obstacle = Obstacle(DecisionReason(fault.reason.value), fault.message) if fault is not None else None
        workers, policy = Workers(there.replicas, there.ready, obstacle), record.policy_of(taskqueue)
        decision = decide(reading, workers, policy, record.memory, now)
        return Recording(now, reading, workers, policy, record.memory, decision)

    async def _look_again(self, key: Key, uid: str) -> None:
        body = await self.cluster.deployment(key)
        if body is None:
            self.cache.lose_deployment(key, uid)
            self.lanes.reconciling.add(key)
        else:
            self.cache.see_deployment(body)

    def _tell(self, key: Key, before: int, after: int, decision: Decision) -> None:
        self.telemetry.wrote("replicas")
        self.telemetry.scaled(key, before, after, decision.why)
        _log.info("scaled", **_told(key, before, after, decision))
        self.lanes.reporting.add(key)


def _told(key: Key, before: int, after: int, decision: Decision) -> dict[str, object]:
    return {
        "taskqueue": str(key),
        "before": before,
        "after": after,
        "why": decision.why,
        "decision": decision.explanation,
    }


def _desired(decision: Decision | None) -> int:
    return decision.desired if decision is not None else 0


def _outcome(reading: Reading | None, decision: Decision | None) -> object:
    """What is worth a report at once; figures alone are not."""
    doubt = (reading.doubt, reading.blind) if reading is not None else None
    return doubt, (decision.desired, decision.why) if decision is not None else None


def _figures(reading: Reading | None, decision: Decision | None) -> object:
    read = (reading.at_least, reading.unacked) if reading is not None else None
    return read, decision.lines if decision is not None else None


def _acts(taskqueue: TaskQueue) -> bool:
    """Whether decisions are carried out."""
    return taskqueue.spec.scaling.mode is not Mode.DRY_RUN and not _ends(taskqueue)


def _ends(taskqueue: TaskQueue) -> bool:
    """Whether the workers are on their way out, whatever the queue holds."""
    return taskqueue.deleting and taskqueue.spec.deletion_policy is DeletionPolicy.DELETE
