"""Tells of changed conditions: a log line for each, and an Event when readiness or the number of replicas changes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import structlog

from taskqueue_operator.control.state import LastScale
from taskqueue_operator.control.status_state import PendingEvent
from taskqueue_operator.resource.bounds import MESSAGE_CHARACTERS
from taskqueue_operator.resource.conditions import PRESENT_ONLY_WHILE_TRUE, ConditionStatus, ConditionType
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.text import shorten

from .document import Status, is_volatile

Rendered = Mapping[str, Any]
QUIET_REASONS: Final = frozenset({Reason.PROGRESSING, Reason.WORKERS_STARTING})
"""Reasons of a readiness that is on its way: every rollout passes through them, so they are no Event."""
_SUMMARY: Final = PRESENT_ONLY_WHILE_TRUE | {ConditionType.READY}

_log = structlog.get_logger("status")


def log_transitions(key: Key, before: Iterable[Rendered], after: Iterable[Rendered]) -> None:
    """Log each condition whose status or reason has changed, or which is gone."""
    known = {condition["type"]: condition for condition in before}
    for condition in after:
        old = known.pop(condition["type"], None)
        if old is None or (_differ(old, condition) and not (is_volatile(old) and is_volatile(condition))):
            _log_condition(key, condition)
    for gone in known.values():
        _log.info("condition removed", taskqueue=str(key), condition=gone["type"], reason=gone["reason"])


def events(before: Status, after: Status, last_scale: LastScale | None) -> Iterator[PendingEvent]:
    """Return the Events for the difference between two statuses."""
    now = _ready(after)
    if changes_readiness(before, after) and now["reason"] not in QUIET_REASONS:
        yield PendingEvent(now["reason"], now["message"], warning=now["status"] == ConditionStatus.FALSE)
    if last_scale is not None and after.get("lastScaleTime") != before.get("lastScaleTime"):
        yield PendingEvent("Scaled", last_scale.explanation, warning=False)


def changes_readiness(before: Status, after: Status) -> bool:
    """Whether readiness is gained or lost, or is missing for another reason."""
    now = _ready(after)
    return bool(now) and _readiness_changed(_ready(before), now)


def _log_condition(key: Key, condition: Rendered) -> None:
    bad = condition["type"] in _SUMMARY and _is_bad(condition)
    log = _log.warning if bad and condition["reason"] not in QUIET_REASONS else _log.info
    log(
        "condition changed",
        taskqueue=str(key),
        condition=condition["type"],
        status=condition["status"],
        reason=condition["reason"],
        detail=shorten(condition["message"], MESSAGE_CHARACTERS),
    )


def _is_bad(condition: Rendered) -> bool:
    normal = ConditionStatus.FALSE if condition["type"] in PRESENT_ONLY_WHILE_TRUE else ConditionStatus.TRUE
    return bool(condition["status"] != normal)


def _differ(old: Rendered, new: Rendered) -> bool:
    return (old["status"], old["reason"]) != (new["status"], new["reason"])


def _readiness_changed(was: Rendered, now: Rendered) -> bool:
    return was.get("status") != now["status"] or (now["status"] == ConditionStatus.FALSE and _differ(was, now))


def _ready(status: Status) -> Rendered:
    conditions: list[Rendered] = status.get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == ConditionType.READY), {})
