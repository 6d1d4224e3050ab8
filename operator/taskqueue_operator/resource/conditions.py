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

    @property
    def holds(self) -> bool:
        """Whether the condition is true."""
        return self.status is Truth.TRUE


def render(
    findings: Iterable[Condition], before: Iterable[Mapping[str, Any]], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Write conditions for the status; `lastTransitionTime` moves only where the truth flips."""
    previous = {condition["type"]: condition for condition in before}
    order = list(ConditionType)
    return [
        {
            "type": finding.type.value,
            "status": finding.status.value,
            "reason": finding.reason,
            "message": finding.message,
            "observedGeneration": generation,
            "lastTransitionTime": _since(finding, previous.get(finding.type), now),
        }
        for finding in sorted(findings, key=lambda finding: order.index(finding.type))
    ]


def _since(finding: Condition, before: Mapping[str, Any] | None, now: datetime) -> str:
    if before is not None and before["status"] == finding.status:
        return str(before["lastTransitionTime"])
    return timestamp(now)


def timestamp(at: datetime) -> str:
    """Write a time as Kubernetes does, in whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
