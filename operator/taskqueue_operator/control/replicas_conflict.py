"""Another client, such as a HorizontalPodAutoscaler, that changes the number of replicas back after each write.

Two controllers of one number make it swing, and each swing removes workers that may be busy. So the operator gives way,
and tries again at growing intervals.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.workers.api_objects import Deployment

REVERSAL_WITHIN: Final = timedelta(minutes=6)
"""A change by another client this soon after a write of the operator reverses it; a HPA acts within 5 minutes."""
PAUSES: Final = (timedelta(0), timedelta(0), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
"""How long the operator gives way after the first, second... reversal. The first two may be of a person."""


@dataclass(slots=True)
class ReplicasConflict:
    """What other clients did to the number of replicas of one Deployment.

    Attributes:
        replicas: The number as the operator last wrote or saw it; None if unknown.
        written_at: When the operator last wrote it.
        reversals: How many writes in a row were reversed.
        reversed_at: When the last one was.
    """

    replicas: int | None = None
    written_at: datetime | None = None
    reversals: int = 0
    reversed_at: datetime | None = None

    def on_write(self, replicas: int | None, now: datetime) -> None:
        """Record a write of the operator; None if it is unknown whether it was applied."""
        self.replicas, self.written_at = replicas, now

    def on_seen(self, deployment: Deployment, now: datetime) -> bool:
        """Record the number that the API shows; returns whether another client has reversed the last write."""
        known, self.replicas = self.replicas, deployment.replicas
        recent = self.written_at is not None and now - self.written_at < REVERSAL_WITHIN
        if known is not None and known != deployment.replicas and recent:
            self.reversals, self.reversed_at, self.written_at = self.reversals + 1, now, None
            return True
        if (self.written_at is not None and not recent) or self._is_long_ago(now):
            self.reversals, self.written_at = 0, None  # the last write has lasted
        return False

    def _is_long_ago(self, now: datetime) -> bool:
        return self.reversed_at is not None and now - self.reversed_at > 2 * PAUSES[-1]

    def fault(self, deployment: str, now: datetime) -> Fault | None:
        """Return why the number is not written at present; None if it may be."""
        if self.reversed_at is None or not self.reversals:
            return None
        pause = PAUSES[min(self.reversals, len(PAUSES)) - 1]
        if now - self.reversed_at >= pause:
            return None
        return Fault(
            Reason.REPLICAS_CONFLICT,
            f"Another client, such as a HorizontalPodAutoscaler, a ScaledObject or a GitOps tool, changes the replicas "
            f"of Deployment {deployment} back after each change. Delete it, or have it leave replicas alone: the "
            f"operator scales this Deployment. It tries again every {int(pause.total_seconds() // 60)} minutes.",
        )
