"""From readings to replicas: considers what was read, and writes the number when it should be another."""

from dataclasses import dataclass
from typing import Protocol

import structlog

from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decide import Decision, Workers, decide
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Reading

from .cache import Cache
from .clock import Clock
from .ports import Cluster
from .record import Records
from .telemetry import Telemetry
from .workqueue import Unsettled, WorkQueue

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
    records: Records
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    lanes: Lanes

    def consider(self, key: Key) -> None:
        """Decide anew on one TaskQueue; no I/O."""
        if self._decides(key):
            self.lanes.scaling.add(key)
        self.lanes.reporting.add(key)

    async def scale(self, key: Key) -> None:
        """Bring the number of replicas to what was last decided."""
        record = self.records[key]
        async with record.writing:
            taskqueue, there, decision = self.cache.taskqueue(key), self.cache.deployments.get(key), record.decision
            if taskqueue is None or there is None or decision is None or _ends(taskqueue):
                return
            if there.replicas == decision.desired:
                return
            try:
                body = await self.cluster.scale(key, replicas=decision.desired, generation=there.generation)
            except Conflict:
                await self._look_again(key, there.uid)
                raise Unsettled from None
            self.cache.see_deployment(body)
            record.scaled_at = self.clock()
            record.scaled = f"From {there.replicas} to {decision.desired} workers: {decision.explanation}"
        self._tell(key, there.replicas, decision)

    def _decides(self, key: Key) -> bool:
        """Decide anew, and say whether the number is to be another."""
        taskqueue, there = self.cache.taskqueue(key), self.cache.deployments.get(key)
        if taskqueue is None or there is None or there.owner_uid != taskqueue.uid or _ends(taskqueue):
            return False
        record = self.records[key]
        now, workers = self.clock(), Workers(there.replicas, there.ready)
        # Bounds and pauses hold without a broker too.
        unread = Reading(now, at_least=None, at_most=None, unacked=None)
        record.reading = record.observer.reading(taskqueue.queue_name) if record.observer is not None else unread
        record.decision = decide(record.reading, workers, Policy.of(taskqueue), record.memory, now)
        record.memory = record.decision.memory
        return record.decision.desired != there.replicas

    async def _look_again(self, key: Key, uid: str) -> None:
        body = await self.cluster.deployment(key)
        if body is None:
            self.cache.lose_deployment(key, uid)
            self.lanes.reconciling.add(key)
        else:
            self.cache.see_deployment(body)
        self._decides(key)  # and no more: what is refused again and again is to wait for its backoff

    def _tell(self, key: Key, before: int, decision: Decision) -> None:
        self.telemetry.wrote("replicas")
        self.telemetry.scaled(key, before, decision.desired, decision.why)
        _log.info(
            "scaled",
            taskqueue=str(key),
            before=before,
            after=decision.desired,
            why=decision.why,
            decision=decision.explanation,
        )
        self.lanes.reporting.add(key)


def _ends(taskqueue: TaskQueue) -> bool:
    """Whether the workers are on their way out, whatever the queue holds."""
    return taskqueue.deleting and taskqueue.spec.deletion_policy is DeletionPolicy.DELETE
