"""Writes the status when it says something new: conditions and decisions at once, figures now and then."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taskqueue_operator.control.cache import Cache, CachedTaskQueue
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.conditions import ConditionStatus, ConditionType, render, timestamp
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decision import OBSTACLE_REASONS
from taskqueue_operator.scaling.reading import READING_WINDOW
from taskqueue_operator.workers.startup_problems import unavailable_reason

from .conditions import StatusInputs, findings
from .scale_in_blocked import scale_in_blocked

Status = dict[str, Any]

FIGURES: Final = frozenset({"backlog", "decision"})
WRITES_PER_SECOND: Final = 20
FIRST_READING: Final = READING_WINDOW + timedelta(seconds=8)
"""By when a queue that can be read has been read long enough, with a sweep's period and some delay to spare."""


class Pace:
    """Lets callers through one by one, at most so many per second."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._turn = asyncio.Lock()

    async def __call__(self) -> None:
        """Wait for one's turn."""
        async with self._turn:
            await asyncio.sleep(self._interval)


class StatusWriter:
    """Reports on TaskQueues, and posts an Event where readiness flips or workers are added or removed."""

    def __init__(self, cache: Cache, states: States, cluster: Cluster, telemetry: Telemetry, clock: Clock) -> None:
        self._cache = cache
        self._states = states
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._pace = Pace(WRITES_PER_SECOND)

    async def report(self, key: Key) -> float | None:
        """Write what is new.

        Returns:
            Seconds until what was held back may be written, figures or doubts; None when nothing is held back.
        """
        news, again = self._news(key)
        if news is None:
            return again
        await self._pace()
        news, again = self._news(key)  # it may have been a while until it was its turn
        if news is None:
            return again
        seen, state = self._cache.taskqueues[key], self._states[key]
        state.status.written_at = self._clock()
        body = await self._cluster.set_status(key, news)
        self._telemetry.wrote("status")
        if body is not None:
            self._cache.update_taskqueue(body)
            await self._tell(seen, dict(seen.status), news, state)
        return self._until_conclusive(state)

    def _news(self, key: Key) -> tuple[Status | None, float | None]:
        """Say what is to be written now, and if that is nothing, in how many seconds to look again."""
        seen = self._cache.taskqueues.get(key)
        if seen is None:
            return None, None
        state, before = self._states[key], dict(seen.status)
        if state.reconcile.observed_generation is None and before.get("observedGeneration") == seen.generation:
            return None, None  # just begun, and this spec was reported on before: nothing is known better yet
        status = self._status(seen, state)
        if status == before:
            return None, self._until_conclusive(state)
        if _significant(status) == _significant(before) and (wait := state.status.figures_delay(self._clock())) > 0:
            return None, wait
        return status, None

    def _status(self, seen: CachedTaskQueue, state: TaskQueueState) -> Status:
        """Start from what was said before: what is not known again yet stays."""
        status, known = dict(seen.status), self._known(seen, state)
        if known.settled:
            status["observedGeneration"] = seen.generation
        taskqueue = self._cache.taskqueue(seen.key)
        if taskqueue is not None and state.reconcile.topology_generation is not None:
            status["queue"] = taskqueue.queue_name
        if known.deployment is not None:
            status |= {"replicas": known.deployment.current_replicas, "readyReplicas": known.deployment.ready}
        if known.decision is not None and (
            known.conclusive or known.decision.desired != seen.status.get("desiredReplicas")
        ):
            status |= {"desiredReplicas": known.decision.desired, "decision": known.decision.explanation}
        if state.scaling.last_scale is not None:
            status["lastScaleTime"] = timestamp(state.scaling.last_scale.at)
        status |= _backlog(status, state)
        conditions = findings(known)
        before = seen.status.get("conditions", ())
        status["conditions"] = render(conditions, before, generation=seen.generation, now=self._clock())
        return status

    def _known(self, seen: CachedTaskQueue, state: TaskQueueState) -> StatusInputs:
        there = self._cache.deployments.get(seen.key)
        faults = dict(state.reconcile.faults)
        observed = self._observed(seen, state)
        if observed is not None and not _of_secret(faults.get(ConditionType.BROKER_REACHABLE)):
            faults[ConditionType.BROKER_REACHABLE] = observed
        if isinstance(seen.parsed, TaskQueue):
            faults |= _scaling_fault(state, faults)
        failing: Fault | None = unavailable_reason(there, self._cache.pods(seen.key))
        if failing is not None:
            faults.setdefault(ConditionType.WORKERS_AVAILABLE, failing)
        return StatusInputs(
            settled=state.reconcile.observed_generation == seen.generation,
            faults=faults,
            waiting=state.reconcile.deletion_blocker,
            conclusive=self._conclusive(state),
            deployment=there,
            obstacle=self._cache.scale_out_blocker(seen.key),
            scale_in_blocked=self._staying(seen, state),
            reading=state.scaling.reading,
            decision=state.scaling.decision,
            mode=seen.parsed.spec.scaling.mode if isinstance(seen.parsed, TaskQueue) else Mode.AUTO,
        )

    def _staying(self, seen: CachedTaskQueue, state: TaskQueueState) -> Fault | None:
        if isinstance(seen.parsed, Fault):
            return None
        there, pods = self._cache.deployments.get(seen.key), self._cache.pods(seen.key)
        return scale_in_blocked(seen.parsed, there, pods, state, self._clock())

    def _observed(self, seen: CachedTaskQueue, state: TaskQueueState) -> Fault | None:
        if state.connection.observer is None or isinstance(seen.parsed, Fault):
            return None
        return state.connection.observer.fault_at(seen.parsed.queue_name)

    def _conclusive(self, state: TaskQueueState) -> bool:
        """Doubts of the first seconds are no news: a restarted operator would only say them to take them back."""
        return _begun(state) is not None and self._until_conclusive(state) is None

    def _until_conclusive(self, state: TaskQueueState) -> float | None:
        begun = _begun(state)
        if begun is None or (state.scaling.reading is not None and state.scaling.reading.at_most is not None):
            return None
        left = (begun + FIRST_READING - self._clock()).total_seconds()
        return left if left > 0 else None

    async def _tell(self, seen: CachedTaskQueue, before: Status, after: Status, state: TaskQueueState) -> None:
        was, now = _ready(before), _ready(after)
        if now and _flipped(was, now):
            await self._post(seen, now["reason"], now["message"], warning=now["status"] == "False")
        scale = state.scaling.last_scale
        if scale is not None and after.get("lastScaleTime") != before.get("lastScaleTime"):
            await self._post(seen, "Scaled", scale.explanation, warning=False)

    async def _post(self, seen: CachedTaskQueue, reason: str, message: str, *, warning: bool) -> None:
        await self._pace()
        await self._cluster.event(seen.reference, reason=reason, message=message, warning=warning)
        self._telemetry.wrote("event")


def _scaling_fault(state: TaskQueueState, faults: Mapping[ConditionType, Fault]) -> dict[ConditionType, Fault]:
    """Return what keeps decisions from being made or written; an unreadable schedule explains a failed decision."""
    type_, scaling = ConditionType.SCALING_ACTIVE, state.scaling
    fault = scaling.write_fault or faults.get(type_) or scaling.decision_fault
    return {type_: fault} if fault is not None else {}


def _of_secret(fault: Fault | None) -> bool:
    """Whether the Secret is at fault: then what an observer meets with its old content is no news."""
    return fault is not None and fault.reason in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}


def _flipped(was: dict[str, str], now: dict[str, str]) -> bool:
    """Whether readiness came, went, or is missing for another reason."""
    return was.get("status") != now["status"] or (now["status"] == "False" and was["reason"] != now["reason"])


def _backlog(status: Status, state: TaskQueueState) -> Status:
    reading, said = state.scaling.reading, status.get("backlog", {})
    if reading is None or reading.at_least is None:
        return {}
    figures = {"ready": reading.at_least} | ({"unacked": reading.unacked} if reading.unacked is not None else {})
    if figures.items() <= said.items():
        return {}
    return {"backlog": figures | {"at": timestamp(reading.at)}}


def _significant(status: Status) -> Status:
    """Leave out what moves with every reading; a demand around maxReplicas makes ScalingLimited come and go."""
    kept = {field: value for field, value in status.items() if field not in FIGURES}
    conditions = kept.get("conditions", ())
    return kept | {"conditions": [each["type"] if _flickers(each) else each for each in conditions]}


def _flickers(condition: dict[str, str]) -> bool:
    if condition["type"] == ConditionType.SCALING_ACTIVE:
        return condition["status"] == ConditionStatus.TRUE  # a doubt that may pass with the next sweep, or none
    return condition["type"] == ConditionType.SCALING_LIMITED and condition["reason"] not in OBSTACLE_REASONS


def _begun(state: TaskQueueState) -> datetime | None:
    """Say since when the queue could have been read."""
    return state.connection.connected_at or state.scaling.memory.began


def _ready(status: Status) -> dict[str, str]:
    conditions: list[dict[str, str]] = status.get("conditions", [])
    return next((each for each in conditions if each["type"] == ConditionType.READY), {})
