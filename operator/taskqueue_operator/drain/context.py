"""What one step of the drain protocol is planned from."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .candidates import choose
from .replicaset_order import sure
from .worker import Worker
from .worker_pool import WorkerPool
from .worker_state import WorkerState

ALL_REPORTED_WITHIN: Final = timedelta(seconds=20)
"""Within this time every worker that runs has reported, and be it its regular report."""


class QueueState(NamedTuple):
    """What removals need to know of the queue.

    Attributes:
        running: Whether the last sweep says that it has a leader. Without one nobody is newly drained.
        empty_at: When the older one of a probe and a sweep was asked for that both say it is empty.
    """

    running: bool
    empty_at: datetime | None = None


@dataclass(frozen=True)
class DrainContext:
    """The crew, which has observed this Deployment, and what is asked of it at one moment.

    Attributes:
        crew: What is known of the workers.
        deployment: As the API shows it.
        queue: As the last sweep and probe showed it.
        desired: How many workers there should be; more than there are calls for none to go.
        now: By the clock that told the crew when reports came.
    """

    crew: WorkerPool
    deployment: Deployment
    queue: QueueState
    desired: int
    now: datetime

    @cached_property
    def live(self) -> list[Worker]:
        """All whose pods count as replicas."""
        return self.crew.live

    @cached_property
    def pods(self) -> list[Pod]:
        """Theirs."""
        return [worker.pod for worker in self.live]

    @cached_property
    def rolls(self) -> bool:
        """Whether more than one version of the workers is there: a rollout, going on or stuck."""
        several = len({pod.replica_set for pod in self.pods}) > 1
        return several or self.deployment.updated != self.deployment.live

    @property
    def moves(self) -> bool:
        """Whether a rollout goes on. Then the controllers remove pods by themselves, and nobody is to be drained."""
        return self.rolls and not self.deployment.stuck

    @cached_property
    def rejected_pods(self) -> int:
        """How many pods are asked for and refused: nothing else keeps them from being there in a moment."""
        refused = self.deployment.refusal and not self.rolls
        return max(0, self.deployment.replicas - len(self.live)) if refused else 0

    @cached_property
    def chosen(self) -> list[Worker]:
        """Who is to go."""
        count = 0 if self.moves else max(0, len(self.live) - self.desired)
        return choose(self.crew, self.live, count, self.desired, self.now)

    @property
    def removes(self) -> bool:
        """Whether a lower number may be on its way, or pods be about to be removed because of it."""
        return self.crew.lowering is not None

    def standing(self, worker: Worker) -> WorkerState:
        """Say what a worker does."""
        return worker.standing(self.now)

    def goes(self, worker: Worker) -> bool:
        """Whether it is, or may be, drained and was not asked to come back."""
        return worker.going(self.crew.installation, self.now)

    def is_drained(self, worker: Worker) -> bool:
        """Whether it says so, is drained by this installation, and answers."""
        says = self.standing(worker) is WorkerState.DRAINED and worker.reports_drained_by(self.crew.installation)
        return says and worker.answers(self.now)

    def ready_to_remove(self, worker: Worker) -> bool:
        """Whether it is drained and may be removed once it proves it."""
        return self.goes(worker) and self.is_drained(worker)

    @property
    def silent(self) -> tuple[Key, ...]:
        """Pods of workers of which nothing is known."""
        return tuple(each.pod.key for each in self.live if self.standing(each) is WorkerState.SILENT)

    def is_empty(self) -> bool:
        """Whether the queue was seen empty after the last worker had stopped."""
        seen = self.queue.empty_at
        return seen is not None and all((each.drained_at or each.shown_at) < seen for each in self.live)

    def target(self, removable: Collection[str], pods: Collection[Pod] | None = None) -> int:
        """Say how far the number can be lowered so that the ReplicaSets remove none but these."""
        unsteady = {
            worker.uid
            for worker in self.live
            if not worker.readiness_settled(self.now)
            or worker.report_overdue(self.now)
            or (worker.reports_unready and worker.uid not in removable)
        }
        certain = sure(
            self.pods if pods is None else pods, removable, unsteady=unsteady, rejected_pods=self.rejected_pods
        )
        least = max(self.desired, 0 if self.is_empty() else 1)
        return max(least, len(self.live) + self.rejected_pods - certain)
