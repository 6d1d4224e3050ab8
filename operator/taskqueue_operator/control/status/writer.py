"""Writes the status when it has changed: conditions and decisions at once, figures periodically."""

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

from .conditions import StatusInputs, build_conditions
from .scale_in_blocked import scale_in_blocked
from .scaling_warnings import scaling_warning

Status = dict[str, Any]

FIGURES: Final = frozenset({"backlog", "decision"})
WRITES_PER_SECOND: Final = 20
FIRST_READING: Final = READING_WINDOW + timedelta(seconds=8)
"""When a readable queue has a complete reading at the latest; includes a sweep period and some delay."""


class RateLimit:
    """Lets callers pass one by one, at most this many per second."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._turn = asyncio.Lock()

    async def __call__(self) -> None:
        """Wait until this caller may pass."""
        async with self._turn:
            await asyncio.sleep(self._interval)


class StatusWriter:
    """Writes status, and an Event when readiness changes or the number of replicas was changed."""

    def __init__(self, cache: Cache, states: States, cluster: Cluster, telemetry: Telemetry, clock: Clock) -> None:
        self._cache = cache
        self._states = states
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._rate_limit = RateLimit(WRITES_PER_SECOND)

    async def write(self, key: Key) -> float | None:
        """Write the status if it has changed.

        Returns:
            Seconds until figures or doubts that were held back may be written; None if nothing was held back.
        """
        status, again = self._changed_status(key)
        if status is None:
            return again
        await self._rate_limit()
        status, again = self._changed_status(key)  # the rate limit may have taken a while
        if status is None:
            return again
        seen, state = self._cache.taskqueues[key], self._states[key]
        state.status.written_at = self._clock()
        body = await self._cluster.set_status(key, status)
        self._telemetry.wrote("status")
        if body is not None:
            self._cache.update_taskqueue(body)
            await self._post_events(seen, dict(seen.status), status, state)
        return self._until_conclusive(state)

    def _changed_status(self, key: Key) -> tuple[Status | None, float | None]:
        """Return the status to write now; if there is none, the seconds until the next check."""
        seen = self._cache.taskqueues.get(key)
        if seen is None:
            return None, None
        state, before = self._states[key], dict(seen.status)
        if state.reconcile.observed_generation is None and before.get("observedGeneration") == seen.generation:
            return None, None  # after a restart: the status knows more than this process does yet
        status = self._status(seen, state)
        if status == before:
            return None, self._until_conclusive(state)
        if _significant(status) == _significant(before) and (wait := state.status.figures_delay(self._clock())) > 0:
            return None, wait
        return status, None

    def _status(self, seen: CachedTaskQueue, state: TaskQueueState) -> Status:
        """Return the status, based on the former one: fields about which nothing is known yet stay."""
        status, inputs = dict(seen.status), self._inputs(seen, state)
        if inputs.is_observed:
            status["observedGeneration"] = seen.generation
        taskqueue = self._cache.taskqueue(seen.key)
        if taskqueue is not None and state.reconcile.topology_generation is not None:
            status["queue"] = taskqueue.queue_name
        if inputs.deployment is not None:
            status |= {"replicas": inputs.deployment.current_replicas, "readyReplicas": inputs.deployment.ready}
        if inputs.decision is not None and (
            inputs.conclusive or inputs.decision.desired != seen.status.get("desiredReplicas")
        ):
            status |= {"desiredReplicas": inputs.decision.desired, "decision": inputs.decision.explanation}
        if state.scaling.last_scale is not None:
            status["lastScaleTime"] = timestamp(state.scaling.last_scale.at)
        status |= _backlog(status, state)
        conditions = build_conditions(inputs)
        before = seen.status.get("conditions", ())
        status["conditions"] = render(conditions, before, generation=seen.generation, now=self._clock())
        return status

    def _inputs(self, seen: CachedTaskQueue, state: TaskQueueState) -> StatusInputs:
        deployment = self._cache.deployments.get(seen.key)
        faults = dict(state.reconcile.faults)
        read_fault = self._read_fault(seen, state)
        if read_fault is not None and not _is_secret_fault(faults.get(ConditionType.BROKER_REACHABLE)):
            faults[ConditionType.BROKER_REACHABLE] = read_fault
        if isinstance(seen.parsed, TaskQueue):
            faults |= _scaling_fault(state, faults)
        failing: Fault | None = unavailable_reason(
            deployment, self._cache.pods(seen.key), started=self._cache.has_started(seen.key)
        )
        if failing is not None:
            faults.setdefault(ConditionType.WORKERS_AVAILABLE, failing)
        return StatusInputs(
            is_observed=state.reconcile.observed_generation == seen.generation,
            faults=faults,
            deletion_blocker=state.reconcile.deletion_blocker,
            conclusive=self._conclusive(state),
            deployment=deployment,
            scale_out_blocker=self._cache.scale_out_blocker(seen.key),
            scale_in_blocked=self._scale_in_blocked(seen, state),
            reading=state.scaling.reading,
            decision=state.scaling.decision,
            mode=seen.parsed.spec.scaling.mode if isinstance(seen.parsed, TaskQueue) else Mode.AUTO,
        )

    def _scale_in_blocked(self, seen: CachedTaskQueue, state: TaskQueueState) -> Fault | None:
        if isinstance(seen.parsed, Fault):
            return None
        deployment, pods = self._cache.deployments.get(seen.key), self._cache.pods(seen.key)
        warning = scaling_warning(seen.parsed, deployment, state)
        blocked = scale_in_blocked(seen.parsed, deployment, pods, state, self._clock())
        return (blocked or warning) if warning is None or warning.reason is Reason.READY else warning

    def _read_fault(self, seen: CachedTaskQueue, state: TaskQueueState) -> Fault | None:
        if state.connection.observer is None or isinstance(seen.parsed, Fault):
            return None
        return state.connection.observer.fault_at(seen.parsed.queue_name)

    def _conclusive(self, state: TaskQueueState) -> bool:
        """Whether doubts may be reported: in the first seconds after a restart every queue is in doubt."""
        return _readable_since(state) is not None and self._until_conclusive(state) is None

    def _until_conclusive(self, state: TaskQueueState) -> float | None:
        since = _readable_since(state)
        if since is None or (state.scaling.reading is not None and state.scaling.reading.at_most is not None):
            return None
        left = (since + FIRST_READING - self._clock()).total_seconds()
        return left if left > 0 else None

    async def _post_events(self, seen: CachedTaskQueue, before: Status, after: Status, state: TaskQueueState) -> None:
        was, now = _ready(before), _ready(after)
        if now and _has_changed(was, now):
            await self._post(seen, now["reason"], now["message"], warning=now["status"] == "False")
        scale = state.scaling.last_scale
        if scale is not None and after.get("lastScaleTime") != before.get("lastScaleTime"):
            await self._post(seen, "Scaled", scale.explanation, warning=False)

    async def _post(self, seen: CachedTaskQueue, reason: str, message: str, *, warning: bool) -> None:
        await self._rate_limit()
        await self._cluster.event(seen.reference, reason=reason, message=message, warning=warning)
        self._telemetry.wrote("event")


def _scaling_fault(state: TaskQueueState, faults: Mapping[ConditionType, Fault]) -> dict[ConditionType, Fault]:
    """Return what keeps decisions from being made or written; an unreadable schedule explains a failed decision."""
    type_, scaling = ConditionType.SCALING_ACTIVE, state.scaling
    fault = scaling.write_fault or faults.get(type_) or scaling.decision_fault
    return {type_: fault} if fault is not None else {}


def _is_secret_fault(fault: Fault | None) -> bool:
    """Whether the Secret is at fault: then the fault of an observer with its former content does not matter."""
    return fault is not None and fault.reason in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}


def _has_changed(was: dict[str, str], now: dict[str, str]) -> bool:
    """Whether readiness was gained or lost, or is missing for another reason."""
    return was.get("status") != now["status"] or (now["status"] == "False" and was["reason"] != now["reason"])


def _backlog(status: Status, state: TaskQueueState) -> Status:
    reading, before = state.scaling.reading, status.get("backlog", {})
    if reading is None or reading.at_least is None:
        return {}
    figures = {"ready": reading.at_least} | ({"unacked": reading.unacked} if reading.unacked is not None else {})
    if figures.items() <= before.items():
        return {}
    return {"backlog": figures | {"at": timestamp(reading.at)}}


def _significant(status: Status) -> Status:
    """Return the status without what changes with every reading; a demand around maxReplicas flips ScalingLimited."""
    kept = {field: value for field, value in status.items() if field not in FIGURES}
    conditions = kept.get("conditions", ())
    return kept | {
        "conditions": [condition["type"] if _is_volatile(condition) else condition for condition in conditions]
    }


def _is_volatile(condition: dict[str, str]) -> bool:
    if condition["type"] == ConditionType.SCALING_ACTIVE:
        return condition["status"] == ConditionStatus.TRUE  # a doubt that may end with the next sweep, or none
    return condition["type"] == ConditionType.SCALING_LIMITED and condition["reason"] not in OBSTACLE_REASONS


def _readable_since(state: TaskQueueState) -> datetime | None:
    """Return since when the queue could be read."""
    return state.connection.connected_at or state.scaling.memory.began


def _ready(status: Status) -> dict[str, str]:
    conditions: list[dict[str, str]] = status.get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == ConditionType.READY), {})
