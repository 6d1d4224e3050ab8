"""Conditions: what is true of a TaskQueue, since when and why, in the form that kubectl and GitOps tools wait on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class ConditionType(StrEnum):
    """The conditions of a TaskQueue, in the order in which they are shown."""

    READY = "Ready"
    BROKER_REACHABLE = "BrokerReachable"
    TOPOLOGY_READY = "TopologyReady"
    WORKERS_AVAILABLE = "WorkersAvailable"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    # kstatus: abnormal when true, absent when false.
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Truth(StrEnum):
    """What a condition says."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One finding, without time: when it became true is known only by comparison with what was said before."""

    type: ConditionType
    status: Truth
    reason: str
    message: str


ABNORMAL = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})


def render(
    findings: Iterable[Condition], before: Iterable[Mapping[str, Any]], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Write conditions for the status; `lastTransitionTime` moves only where the truth flips.

    What no finding speaks of stays as it was said before, except for the abnormal ones, which end when not found.
    """
    found = {finding.type: finding for finding in findings}
    previous = {ConditionType(each["type"]): dict(each) for each in before if each["type"] in set(ConditionType)}
    return [
        _write(found[type_], previous.get(type_), generation, now) if type_ in found else previous[type_]
        for type_ in ConditionType
        if type_ in found or (type_ in previous and type_ not in ABNORMAL)
    ]


def _write(finding: Condition, before: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    return {
        "type": finding.type.value,
        "status": finding.status.value,
        "reason": str(finding.reason),
        "message": finding.message,
        "observedGeneration": generation,
        "lastTransitionTime": _since(finding, before, now),
    }


def _since(finding: Condition, before: Mapping[str, Any] | None, now: datetime) -> str:
    if before is not None and before["status"] == finding.status:
        return str(before["lastTransitionTime"])
    return timestamp(now)


def timestamp(at: datetime) -> str:
    """Write a time as Kubernetes does, in whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
