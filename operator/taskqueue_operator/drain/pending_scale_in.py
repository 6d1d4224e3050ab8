"""A scale-in that was requested: whether it may still be applied, which pods it removed, and when it has ended."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from taskqueue_operator.workers.api_objects import Deployment

from .worker import Worker

REMOVAL_SETTLE_TIME: Final = timedelta(seconds=10)
"""How long pods may still be removed after the Deployment's controller has observed another number."""


class PendingScaleIn(NamedTuple):
    """A write of fewer replicas that may have been applied, or may still be.

    Attributes:
        generation: The condition on the Deployment's generation; None for a write of an earlier leader.
        drain_token: The condition on its drain annotation.
        at: When it was requested.
        expected: UIDs of the pods that may be removed by it.
    """

    generation: int | None
    drain_token: str
    at: datetime
    expected: frozenset[str] = frozenset()

    def has_removed(self, worker: Worker, deployment: Deployment) -> bool:
        """Whether this write removed the pod of a worker. After a later change, a rollout may have removed others."""
        if self.generation is None:
            return False
        return worker.uid in self.expected or deployment.generation <= self.generation + 1

    def may_still_apply(self, deployment: Deployment) -> bool:
        """Whether it may still be applied if it has no answer: its condition still holds."""
        return (self.generation, self.drain_token) == (deployment.generation, deployment.drain_token)

    def has_ended(self, deployment: Deployment, active: int, at: datetime) -> bool:
        """Whether it was not applied, or its pods are no longer active.

        Args:
            deployment: The Deployment, as the API shows it.
            active: Number of active workers.
            at: The present time.
        """
        of_another_leader = self.generation is None and self.drain_token == deployment.drain_token != ""
        if of_another_leader or self.may_still_apply(deployment):
            return False
        if self.generation == deployment.generation:
            return True  # it was not applied, and another drain annotation prevents it
        if not deployment.observed:
            return False
        is_last_change = self.generation is None or deployment.generation == self.generation + 1
        if is_last_change and deployment.replicas == deployment.current_replicas == active:
            return True
        # Another number was written after it, so the counts alone prove nothing.
        has_several_versions = deployment.updated != deployment.current_replicas
        settled = has_several_versions or active <= deployment.replicas
        return at - self.at >= REMOVAL_SETTLE_TIME and settled
