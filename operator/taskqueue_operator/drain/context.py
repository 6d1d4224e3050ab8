"""The inputs of one drain plan, and the questions that the plan asks of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

from . import report_requests
from .candidates import select
from .protocol import FencingToken, Verb
from .replicaset_order import guaranteed_removals, with_costs
from .sent_command import ANSWER_TIMEOUT
from .worker import Worker
from .worker_pool import WorkerPool
from .worker_state import WorkerState

ALL_REPORTED_WITHIN: Final = timedelta(seconds=20)
"""Every running worker has reported within this time: longer than the period of regular reports."""
ANSWER_GATHER_WINDOW: Final = timedelta(seconds=2)
"""How long workers that have answered wait for the others, so that one scale-in removes them together."""
_UNREACHABLE: Final = frozenset({WorkerState.NO_CONTAINER, WorkerState.LEAVING, WorkerState.SILENT})


class QueueState(NamedTuple):
    """What a scale-in needs to know of the queue.

    Attributes:
        running: Whether the last sweep shows a leader. Without one no further worker is drained.
        empty_at: When the older one of a probe and a sweep that both show an empty queue was requested.
    """

    running: bool
    empty_at: datetime | None = None


@dataclass(frozen=True)
class DrainContext:
    """What is known at one moment, and how many workers are desired.

    Attributes:
        pool: The workers, in sync with this Deployment.
        deployment: The Deployment, as the API shows it.
        queue: The queue, as the last sweep and probe show it.
        desired: The desired number of workers; one that is not lower than the present number drains none.
        now: The present time, by the clock that the pool's times are from.
        leads: Whether the Lease was read after the drain annotation, and names this leader.
    """

    pool: WorkerPool
    deployment: Deployment
    queue: QueueState
    desired: int
    now: datetime
    leads: bool = False

    # The Deployment and its pods.

    @cached_property
    def active(self) -> list[Worker]:
        """The workers whose pods count as replicas."""
        return self.pool.active

    @cached_property
    def pods(self) -> list[Pod]:
        """The pods of the active workers."""
        return [worker.pod for worker in self.active]

    @cached_property
    def has_several_versions(self) -> bool:
        """Whether pods of more than one template exist: a rollout is in progress, or stuck."""
        several = len({pod.replica_set for pod in self.pods}) > 1
        return several or self.deployment.updated != self.deployment.current_replicas

    @property
    def rolling_out(self) -> bool:
        """Whether a rollout is in progress. Its controllers remove pods by themselves, so no worker is drained."""
        return self.has_several_versions and not self.deployment.progress_deadline_exceeded

    @property
    def scale_in_pending(self) -> bool:
        """Whether fewer replicas may have been requested and pods may be about to be removed."""
        return self.pool.pending_scale_in is not None

    @property
    def is_settled(self) -> bool:
        """Whether the controllers have done all that is requested, so that the counts agree."""
        deployment, count = self.deployment, len(self.active)
        requested = count if self.has_several_versions else deployment.replicas - self.rejected_pods
        return deployment.observed and deployment.current_replicas == count == requested

    @cached_property
    def rejected_pods(self) -> int:
        """Number of requested pods that the API server rejects. They may appear as soon as it no longer does."""
        rejected = self.deployment.replica_failure and not self.has_several_versions
        return max(0, self.deployment.replicas - len(self.active)) if rejected else 0

    @property
    def another_may_lead(self) -> bool:
        """Whether the drain annotation is of a later leadership, and it is unknown whether there is one."""
        token = FencingToken.parse(self.deployment.drain_token)
        return token is not None and token.epoch > self.pool.epoch and not self.leads

    # The workers.

    @cached_property
    def candidates(self) -> list[Worker]:
        """The workers to drain and remove."""
        count = 0 if self.rolling_out else max(0, len(self.active) - self.desired)
        return select(self.pool, self.active, count, self.desired, self.now)

    @property
    def unreported_pods(self) -> tuple[Key, ...]:
        """Pods of workers about which nothing is known."""
        silent = (worker for worker in self.active if self.state(worker) is WorkerState.SILENT)
        return tuple(worker.pod.key for worker in silent if not worker.never_consumed(self.now))

    def state(self, worker: Worker) -> WorkerState:
        """Return what a worker does."""
        return worker.state(self.now)

    def may_be_sent(self, worker: Worker, verb: Verb) -> bool:
        """Whether it is time for a command: for the opposite of the last one at once, unless that one was refused."""
        sent = worker.last_command
        is_opposite = sent is not None and sent.command.command is not verb
        return worker.may_resend(self.now) or (is_opposite and not worker.recently_refused(self.now))

    def may_be_drained(self, worker: Worker) -> bool:
        """Whether a `drain` can reach a worker, and it is time for one."""
        reachable = self.state(worker) not in _UNREACHABLE and worker.report is not None
        return reachable and self.may_be_sent(worker, Verb.DRAIN)

    def needs_renewal(self, worker: Worker) -> bool:
        """Whether the drain of a worker is to be renewed, or repeated while its answer is missing.

        Without a leader of the queue, only a worker that stopped consuming while there was one keeps its lease.
        """
        stopped = self.queue.running or worker.reports_drained_by(self.pool.installation)
        return stopped and self.drain_requested(worker) and self.may_be_drained(worker)

    def drain_requested(self, worker: Worker) -> bool:
        """Whether a worker is, or may be, drained, and no `undrain` was sent."""
        return worker.drain_requested(self.pool.installation, self.now)

    def is_drained(self, worker: Worker) -> bool:
        """Whether a worker reports that it has stopped since this installation drained it, and answers."""
        stopped = worker.has_stopped and worker.is_reporting(self.now)
        return stopped and worker.reports_drained_by(self.pool.installation) and worker.is_responsive(self.now)

    def ready_to_remove(self, worker: Worker) -> bool:
        """Whether a worker may be removed as soon as it confirms its drain."""
        return self.drain_requested(worker) and self.is_drained(worker)

    def can_confirm(self, worker: Worker) -> bool:
        """Whether a worker can be asked to confirm its drain."""
        able = not worker.has_no_container and not worker.never_consumed(self.now)
        return able and not worker.awaits_answer(self.now)

    def needs_confirmation(self, worker: Worker) -> bool:
        """Whether a worker has to confirm its drain once more before replicas are reduced."""
        if not self.can_confirm(worker):
            return False
        confirmed_at = worker.confirmed_at
        return confirmed_at is None or self.now - confirmed_at >= ANSWER_TIMEOUT - ANSWER_GATHER_WINDOW

    def may_answer_soon(self, worker: Worker) -> bool:
        """Whether a worker was sent a command a moment ago, so that others wait for its answer."""
        sent = worker.last_command
        return sent is not None and sent.awaits_answer(self.now) and self.now - sent.at < ANSWER_GATHER_WINDOW

    # How far replicas can be reduced.

    def is_empty(self) -> bool:
        """Whether the queue was seen empty after the last worker had stopped."""
        seen = self.queue.empty_at
        stopped = (worker.drained_at or worker.container_changed_at for worker in self.active)
        return seen is not None and all(at < seen for at in stopped)

    def lowest_safe_replicas(self, removable: Collection[str], costs: Mapping[str, int | None] | None = None) -> int:
        """Return the lowest number of replicas with which the ReplicaSets remove only removable pods.

        Args:
            removable: UIDs of the pods that may be removed.
            costs: Deletion costs, by the UID of the pod, as if they were written already.
        """
        certain = self.guaranteed_removals(with_costs(self.pods, costs or {}), removable)
        lowest = max(self.desired, 0 if self.is_empty() else 1)
        return max(lowest, len(self.active) + self.rejected_pods - certain)

    def guaranteed_removals(self, pods: Collection[Pod], removable: Collection[str]) -> int:
        """Return how many pods the ReplicaSets can remove so that all of them are removable."""
        unsettled = {
            worker.uid
            for worker in self.active
            if not worker.readiness_settled(self.now)
            or report_requests.is_late(worker, self.now)
            or worker.never_consumed(self.now)
            or (worker.reports_unready and worker.uid not in removable)
        }
        return guaranteed_removals(pods, removable, unsettled=unsettled, rejected_pods=self.rejected_pods)
