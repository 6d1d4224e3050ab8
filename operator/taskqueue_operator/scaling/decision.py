"""What a decision is made of."""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Self

from .memory import Memory


class DecisionReason(StrEnum):
    """What determined the desired number. Part of the API: status, Events, metric labels."""

    BACKLOG = "Backlog"
    RUNNING_TASKS = "RunningTasks"
    IDLE = "Idle"
    IDLE_GRACE = "IdleGrace"
    TOLERANCE = "WithinTolerance"
    UNKNOWN = "QueueUnreadable"
    FALLBACK = "Fallback"
    PAUSED = "Paused"
    # From here on: something else was wanted. The names are those of an HPA where it has them.
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    WORKERS_FAILING = "WorkersFailing"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    MIN_REPLICAS = "TooFewReplicas"
    MAX_REPLICAS = "TooManyReplicas"


OBSTACLES: Final = frozenset(
    {DecisionReason.WORKERS_FAILING, DecisionReason.QUOTA_EXCEEDED, DecisionReason.UNSCHEDULABLE}
)
LIMITS: Final = OBSTACLES | {
    DecisionReason.SCALE_UP_LIMIT,
    DecisionReason.SCALE_DOWN_LIMIT,
    DecisionReason.MIN_REPLICAS,
    DecisionReason.MAX_REPLICAS,
}
"""What the condition ScalingLimited speaks of."""


def seconds(span: timedelta) -> int:
    """Write a span of time for people."""
    return int(span.total_seconds())


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why more workers would not help; `message` says it for people."""

    why: DecisionReason
    message: str


@dataclass(frozen=True, slots=True)
class Workers:
    """What runs now: the `replicas` asked for and how many of them are `ready`, that is, consume."""

    replicas: int
    ready: int = 0
    obstacle: Obstacle | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of workers and how it came about.

    Attributes:
        desired: The number that is wanted.
        why: The stage that had the last word.
        lines: One line of explanation for each stage that said something.
        memory: To be handed to the next decision.
    """

    desired: int
    why: DecisionReason
    lines: tuple[str, ...]
    memory: Memory

    @property
    def explanation(self) -> str:
        """The lines as one sentence."""
        return "; ".join(self.lines)

    def then(self, desired: int, why: DecisionReason, line: str) -> Self:
        """Let a later stage change the number."""
        return replace(self, desired=desired, why=why, lines=(*self.lines, line))
