"""The workers of one TaskQueue, as the operator that leads in this epoch knows them.

What was commanded and what was answered is known here and nowhere else. A fresh crew, after a start or a takeover,
learns from the reports who is drained, and has it proved anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from taskqueue_operator.workers.api_objects import Deployment, Pod

from .protocol import Command, FencingToken, Report, Verb
from .worker import REPORT_TIMEOUT, Worker
from .worker_state import WorkerState

SIGTERM_ACK_TIMEOUT: Final = timedelta(seconds=2)
"""How long a worker has to hear SIGTERM, and to say so."""
REMOVAL_SETTLE_TIME: Final = timedelta(seconds=10)
"""How long removals may still be under way after the Deployment's controller has seen another number."""


_AT_WORK: Final = frozenset({WorkerState.CONSUMING, WorkerState.DRAINING, WorkerState.DRAINED})


class PendingScaleIn(NamedTuple):
    """A lower number of replicas that was asked for: may have been written, or may still be.

    Attributes:
        generation: Of the Deployment, on which it was conditional; None for that of an operator before this one.
        mark: The annotation on which it was conditional.
        at: When.
    """

    generation: int | None
    mark: str
    at: datetime


class _Heard(NamedTuple):
    report: Report
    address: str
    at: datetime


class _Departure(NamedTuple):
    worker: Worker
    at: datetime


class WorkerPool:
    """All workers of one TaskQueue, as the leader of this epoch knows them."""

    def __init__(self, installation: str, epoch: int, at: datetime) -> None:
        self.installation = installation
        self.epoch = epoch
        self.since = at
        self.seq = 0
        # As if one had been lowered by whoever led before.
        self.lowered_at = at
        # Whoever led before may have lowered the number a moment ago.
        self.lowering: PendingScaleIn | None = PendingScaleIn(None, "", at)
        self._workers: dict[str, Worker] = {}
        self._departing: dict[str, _Departure] = {}
        self._early: defaultdict[str, list[_Heard]] = defaultdict(list)
        self._ids = 0

    @property
    def live(self) -> list[Worker]:
        """The workers whose pods count as replicas, in the order of their names."""
        return sorted(self._workers.values(), key=lambda worker: worker.pod.key)

    def deaf(self, now: datetime) -> list[Worker]:
        """Find those whose pods are going, and who work on as if nobody had told them; they will be killed.

        So do workers that a shell runs, which keeps SIGTERM to itself.
        """
        overdue = (each.worker for each in self._departing.values() if now - each.at >= SIGTERM_ACK_TIMEOUT)
        return [worker for worker in overdue if worker.standing(now) in _AT_WORK]

    def worker(self, uid: str) -> Worker | None:
        """Look up one by the UID of its pod."""
        return self._workers.get(uid)

    def observe(self, deployment: Deployment, pods: Iterable[Pod], at: datetime) -> list[Worker]:
        """Take note of what the API shows; returns those whose pods have gone, or are going, since the last time."""
        # One that no ReplicaSet made has our label by mistake: nobody counts it, and nothing makes it go.
        there = {pod.uid: pod for pod in pods if pod.replica_set and not pod.finished}
        shown = {uid: pod for uid, pod in there.items() if pod.live}
        gone = [self._workers.pop(uid) for uid in self._workers.keys() - shown.keys()]
        self._track_terminating(gone, there.keys() - shown.keys(), there, at)
        for uid, pod in shown.items():
            if uid in self._workers:
                self._workers[uid].show(pod, at)
            else:
                self._add(pod, at)
        self._forget(at)
        mark = FencingToken.parse(deployment.mark)
        if mark is not None and mark.epoch == self.epoch:
            self.seq = max(self.seq, mark.seq)
        elif deployment.mark:
            # Until it is replaced, whoever wrote it may lower the number.
            self.lowering = PendingScaleIn(None, deployment.mark, at)
        if self.lowering is not None and self._is_over(self.lowering, deployment, at):
            self.lowering = None
        return gone

    def see(self, report: Report, address: str, at: datetime) -> None:
        """Take note of a report, and of the address that came with it; one that is late changes nothing."""
        worker = self._find(report.pod)
        if worker is not None:
            worker.hear(report, address, at)
        elif report.pod:  # outside of Kubernetes it has none
            self._early[report.pod].append(_Heard(report, address, at))
            self._forget(at)

    def command(self, uid: str, verb: Verb, at: datetime) -> Command:
        """Make a command, to be sent to that worker's address, and take note that it is sent now.

        Raises:
            LookupError: Nothing was heard of that worker.
        """
        worker = self._find(uid)
        if worker is None or worker.report is None:
            raise LookupError(f"nothing was heard of the worker in pod {uid}")
        self._ids += 1
        command = Command(
            id=f"{self.epoch}.{self._ids}",
            command=verb,
            incarnation=worker.report.incarnation,
            installation=self.installation,
            epoch=self.epoch,
            seq=self.seq,
        )
        worker.tell(command, at)
        return command

    def begin_scale_in(self, deployment: Deployment, at: datetime) -> None:
        """Take note that a lower number is being asked for, on the condition of what this Deployment shows."""
        self.lowering, self.lowered_at = PendingScaleIn(deployment.generation, deployment.mark, at), at

    def mark_idle(self, may_go: Mapping[str, datetime | None], at: datetime) -> None:
        """Take note of who may be removed without an answer of its own, and since when it is known to be idle.

        By the UID of the pod; nobody else may. While pods are being removed, it stays at what was attested before.
        """
        if self.lowering is not None:
            return
        for uid, worker in self._workers.items():
            worker.mark_idle(at if uid in may_go else None, may_go.get(uid))

    def scale_in_may_still_apply(self, deployment: Deployment) -> bool:
        """Whether a lowering without an answer may still happen: until its condition no longer holds."""
        lowering = self.lowering
        return (
            lowering is not None and lowering.generation == deployment.generation and lowering.mark == deployment.mark
        )

    def _is_over(self, lowering: PendingScaleIn, deployment: Deployment, at: datetime) -> bool:
        """Whether the pods that it removes, if it was written, are gone from among the live ones."""
        if self.scale_in_may_still_apply(deployment) or (
            lowering.generation is None and lowering.mark == deployment.mark != ""
        ):
            return False
        if lowering.generation == deployment.generation:
            return True  # it never happened, and another mark keeps it from happening
        if not deployment.observed:
            return False
        first = lowering.generation is None or deployment.generation == lowering.generation + 1
        if first and deployment.replicas == deployment.live == len(self.live):
            return True
        # Another number came after it, so that the counts alone show nothing.
        rolls = deployment.updated != deployment.live
        return at - lowering.at >= REMOVAL_SETTLE_TIME and (rolls or len(self.live) <= deployment.replicas)

    def _find(self, uid: str) -> Worker | None:
        departure = self._departing.get(uid)
        return self._workers.get(uid) if departure is None else departure.worker

    def _track_terminating(
        self, gone: Iterable[Worker], going: Iterable[str], there: Mapping[str, Pod], at: datetime
    ) -> None:
        """Keep those in sight whose pods have not ended yet."""
        known = {worker.uid: worker for worker in gone}
        self._departing = {
            uid: self._departing.get(uid) or _Departure(known.get(uid) or Worker(there[uid], at), at) for uid in going
        }

    def _add(self, pod: Pod, at: datetime) -> None:
        early = self._early.pop(pod.uid, [])
        # One that was heard before the API showed its pod runs, whatever that pod says.
        self._workers[pod.uid] = Worker(pod, early[0].at if early else at)
        for report, address, heard_at in early:
            self._workers[pod.uid].hear(report, address, heard_at)

    def _forget(self, at: datetime) -> None:
        """Forget reports of pods that the API has not shown, or shows no more."""
        for uid, reports in list(self._early.items()):
            if all(at - heard.at >= REPORT_TIMEOUT for heard in reports):
                del self._early[uid]
            else:
                self._early[uid] = [heard for heard in reports if at - heard.at < REPORT_TIMEOUT]
