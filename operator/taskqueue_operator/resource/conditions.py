"""Conditions of a TaskQueue, in the form that kubectl and GitOps tools wait for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from .bounds import FAULT_CHARACTERS
from .text import shorten


class ConditionType(StrEnum):
    """Condition types, in the order in which the status lists them."""

    READY = "Ready"
    BROKER_REACHABLE = "BrokerReachable"
    TOPOLOGY_READY = "TopologyReady"
    WORKERS_AVAILABLE = "WorkersAvailable"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    # Of kstatus: present only while true.
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without its transition time, which `render` derives from the previous status."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


PRESENT_ONLY_WHILE_TRUE = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that kstatus reads as abnormal when they are present."""


def render(
    conditions: Iterable[Condition], previous: Iterable[Mapping[str, Any]], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions for the status; `lastTransitionTime` changes only where the status of a condition changes.

    Types that are missing from `conditions` keep their previous value, except those that are present only while true.

    Args:
        conditions: The conditions that are known now.
        previous: The conditions in the status of the object.
        generation: Generation of the spec that `conditions` refer to.
        now: The present time.
    """
    current = {condition.type: condition for condition in conditions}
    kept = {ConditionType(old["type"]): dict(old) for old in previous if old["type"] in set(ConditionType)}
    return [
        _render(current[type_], kept.get(type_), generation, now) if type_ in current else kept[type_]
        for type_ in ConditionType
        if type_ in current or (type_ in kept and type_ not in PRESENT_ONLY_WHILE_TRUE)
    ]


def _render(condition: Condition, previous: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    return {
        "type": condition.type.value,
        "status": condition.status.value,
        "reason": str(condition.reason),
        "message": shorten(condition.message, FAULT_CHARACTERS),
        "observedGeneration": generation,
        "lastTransitionTime": _transition_time(condition, previous, now),
    }


def _transition_time(condition: Condition, previous: Mapping[str, Any] | None, now: datetime) -> str:
    if previous is not None and previous["status"] == condition.status:
        return str(previous["lastTransitionTime"])
    return timestamp(now)


def timestamp(at: datetime) -> str:
    """Return a time in the format of Kubernetes, in whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
