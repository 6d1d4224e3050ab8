"""The input and the result of a decision, except for reading, policy and memory."""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Self

from .memory import Memory


class DecisionReason(StrEnum):
    """The stage that determined the desired number. Part of the API: status, Events, metric labels."""

    BACKLOG = "Backlog"
    RUNNING_TASKS = "RunningTasks"
    IDLE = "Idle"
    IDLE_GRACE = "IdleGrace"
    TOLERANCE = "WithinTolerance"
    QUEUE_UNREADABLE = "QueueUnreadable"
    FALLBACK = "Fallback"
    PAUSED = "Paused"
    # From here on the number differs from the demand. The names are those of an HPA where it has them.
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    WORKERS_STARTING = "WorkersStarting"
    WORKERS_FAILING = "WorkersFailing"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    DEPENDENCY_UNAVAILABLE = "DependencyUnavailable"
    MIN_REPLICAS = "TooFewReplicas"
    MAX_REPLICAS = "TooManyReplicas"


OBSTACLE_REASONS: Final = frozenset(
    {
        DecisionReason.WORKERS_STARTING,
        DecisionReason.WORKERS_FAILING,
        DecisionReason.QUOTA_EXCEEDED,
        DecisionReason.UNSCHEDULABLE,
        DecisionReason.DEPENDENCY_UNAVAILABLE,
    }
)
LIMITING_REASONS: Final = OBSTACLE_REASONS | {
    DecisionReason.SCALE_UP_LIMIT,
    DecisionReason.SCALE_DOWN_LIMIT,
    DecisionReason.MIN_REPLICAS,
    DecisionReason.MAX_REPLICAS,
}
"""The reasons with which the condition ScalingLimited is true."""


def whole_seconds(duration: timedelta) -> int:
    """Return a duration in whole seconds, for explanations."""
    return int(duration.total_seconds())


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why additional workers could not start, or could do nothing.

    Attributes:
        reason: One of `OBSTACLE_REASONS`.
        message: The cause, as part of an explanation.
    """

    reason: DecisionReason
    message: str


@dataclass(frozen=True, slots=True)
class Workers:
    """The current workers.

    Attributes:
        replicas: `spec.replicas` of the Deployment.
        ready: Number of ready pods, that is, of workers that consume.
        obstacle: Why additional workers could not start, or could do nothing; None if nothing is known to prevent them.
    """

    replicas: int
    ready: int = 0
    obstacle: Obstacle | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A desired number of workers and its explanation.

    Attributes:
        desired: The desired number of workers.
        reason: The last stage that changed the number.
        explanation_lines: One line for each stage that contributed.
        memory: Input of the next decision.
    """

    desired: int
    reason: DecisionReason
    explanation_lines: tuple[str, ...]
    memory: Memory

    @property
    def explanation(self) -> str:
        """The explanation as one sentence."""
        return "; ".join(self.explanation_lines)

    def changed_to(self, desired: int, reason: DecisionReason, line: str) -> Self:
        """Return the decision after a further stage has changed the number."""
        lines = (*self.explanation_lines, line)
        return replace(self, desired=desired, reason=reason, explanation_lines=lines)
