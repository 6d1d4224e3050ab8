"""The workers of one TaskQueue, as the leader of this epoch knows them.

Only the pool knows which commands were sent and answered. After a start or a takeover it is empty: it learns from
reports which workers are drained, and lets them confirm it anew.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import ClassVar, Final, NamedTuple

from taskqueue_operator.resource.bounds import DRAIN_SEQ, UNKNOWN_PODS
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .pending_scale_in import PendingScaleIn
from .protocol import Command, FencingToken, Report, Verb
from .worker import REPORT_TIMEOUT, Worker
from .worker_state import WorkerState

SIGTERM_ACK_TIMEOUT: Final = timedelta(seconds=2)
"""How long a worker may take to receive SIGTERM and to report `leaving`."""
ID_BYTES: Final = 16
"""Bytes of the id of a command: too many to guess one."""

_WORKING: Final = frozenset({WorkerState.CONSUMING, WorkerState.DRAINING, WorkerState.DRAINED})


class _EarlyReport(NamedTuple):
    """The last report of a pod that the API has not shown, and when its first one arrived."""

    report: Report
    address: str
    at: datetime
    first_at: datetime


class _Terminating(NamedTuple):
    worker: Worker
    since: datetime


class WorkerPool:
    """All workers of one TaskQueue, as the leader of this epoch knows them.

    Attributes:
        worker_type: What it creates for each pod.
        installation: The operator's installation.
        epoch: The epoch of this leader.
        since: When the pool was created.
        seq: The highest sequence number used in this epoch.
        last_scale_in_at: When fewer replicas were last requested.
        pending_scale_in: The scale-in that may not have ended yet.
        dead_letters_blocked: UIDs of the pods whose workers hold messages that no queue takes as dead letters.
        without_dependency: UIDs of the pods whose workers report that they do not reach a dependency.
    """

    worker_type: ClassVar[type[Worker]] = Worker

    def __init__(self, installation: str, epoch: int, at: datetime, secret: bytes = b"") -> None:
        """From `secret`, the ids of commands are made, so that no one can answer a command without receiving it."""
        self.installation = installation
        self.epoch = epoch
        self.since = at
        self.seq = 0
        # Assume the previous leader may have scaled in just before us.
        self.last_scale_in_at = at
        self.pending_scale_in: PendingScaleIn | None = PendingScaleIn(None, "", at)
        self.dead_letters_blocked: frozenset[str] = frozenset()
        self.without_dependency: frozenset[str] = frozenset()
        self._workers: dict[str, Worker] = {}
        self._terminating: dict[str, _Terminating] = {}
        self._early_reports: OrderedDict[str, _EarlyReport] = OrderedDict()
        self._secret = secret
        self._ids = 0

    @property
    def active(self) -> list[Worker]:
        """The workers whose pods count as replicas, by the names of the pods."""
        return sorted(self._workers.values(), key=lambda worker: worker.pod.key)

    def worker(self, uid: str) -> Worker | None:
        """Return the active worker whose pod has this UID."""
        return self._workers.get(uid)

    @property
    def terminating_since(self) -> Mapping[str, datetime]:
        """By the UID of the pod, since when it terminates, as far as the API has shown."""
        return {uid: found.since for uid, found in self._terminating.items()}

    def ignoring_sigterm(self, now: datetime) -> list[Worker]:
        """Return the workers whose pods terminate, and which continue to work as if without SIGTERM.

        They will be killed. An image whose entry point is a shell is an example: the shell does not forward SIGTERM.
        """
        overdue = (found.worker for found in self._terminating.values() if now - found.since >= SIGTERM_ACK_TIMEOUT)
        return [worker for worker in overdue if worker.state(now) in _WORKING]

    def sync(self, deployment: Deployment, pods: Iterable[Pod], at: datetime) -> list[Worker]:
        """Store what the API shows. Returns the workers that are no longer active since the last call."""
        existing = {pod.uid: pod for pod in pods if not pod.finished}
        active = {uid: pod for uid, pod in existing.items() if pod.is_active}
        inactive = [self._workers.pop(uid) for uid in self._workers.keys() - active.keys()]
        self.dead_letters_blocked = self.dead_letters_blocked.intersection(active)
        self.without_dependency = self.without_dependency.intersection(active)
        self._track_terminating(inactive, {uid: existing[uid] for uid in existing.keys() - active.keys()}, at)
        for uid, pod in active.items():
            if uid in self._workers:
                self._workers[uid].on_pod(pod, at)
            else:
                self._add(pod, at)
        self._expire_early_reports(at)
        self._sync_scale_in(deployment, at)
        return inactive

    def on_report(self, report: Report, address: str, at: datetime) -> None:
        """Store a report and the address it came with. A report older than the last one is ignored."""
        worker = self._find(report.pod)
        if worker is not None:
            worker.on_report(report, address, at)
            self._record_problems(worker)
        elif report.pod:  # empty outside of Kubernetes
            self._store_early_report(report, address, at)

    def command(self, uid: str, verb: Verb, at: datetime) -> Command:
        """Create a command to a worker and record that it is sent now.

        Raises:
            LookupError: The worker has not reported.
        """
        worker = self._find(uid)
        if worker is None or worker.report is None:
            raise LookupError(f"The worker in pod {uid} has not reported.")
        self._ids += 1
        command = Command(
            id=blake2b(f"{self.epoch}.{self._ids}".encode(), key=self._secret, digest_size=ID_BYTES).hexdigest(),
            command=verb,
            incarnation=worker.report.incarnation,
            installation=self.installation,
            epoch=self.epoch,
            seq=self.seq,
        )
        worker.on_command_sent(command, at)
        return command

    def begin_scale_in(self, generation: int, drain_token: str, at: datetime) -> None:
        """Record that fewer replicas are being requested, on condition of this generation and drain annotation."""
        expected = frozenset(worker.uid for worker in self._workers.values() if worker.is_removable(at))
        self.pending_scale_in, self.last_scale_in_at = PendingScaleIn(generation, drain_token, at, expected), at

    def mark_idle(self, idle_since: Mapping[str, datetime | None], at: datetime) -> None:
        """Record which workers may be removed without an answer of their own, and no others.

        While pods are being removed, the former record stays.

        Args:
            idle_since: By the UID of the pod, since when the worker is idle; None if that is unknown.
            at: The present time.
        """
        if self.pending_scale_in is not None:
            return
        for uid, worker in self._workers.items():
            worker.mark_idle(at if uid in idle_since else None, idle_since.get(uid))

    def has_written(self, token: FencingToken | None) -> bool:
        """Whether this leader has written a drain annotation, as far as the annotation shows.

        It raises `seq` by one at a time. A client that writes another number must not make it use all numbers.
        """
        if token is None or token.epoch != self.epoch:
            return False
        return token.seq <= max(self.seq + 1, DRAIN_SEQ)

    def scale_in_may_still_apply(self, deployment: Deployment) -> bool:
        """Whether a scale-in without an answer may still be applied: its condition still holds."""
        return self.pending_scale_in is not None and self.pending_scale_in.may_still_apply(deployment)

    def _sync_scale_in(self, deployment: Deployment, at: datetime) -> None:
        token = FencingToken.parse(deployment.drain_token)
        if token is not None and self.has_written(token):
            self.seq = max(self.seq, token.seq)
        elif deployment.drain_token:
            # Until the annotation is replaced, the leader that wrote it may scale in.
            self.pending_scale_in = PendingScaleIn(None, deployment.drain_token, at)
        pending = self.pending_scale_in
        if pending is not None and pending.has_ended(deployment, len(self._workers), at):
            self.pending_scale_in = None

    def _find(self, uid: str) -> Worker | None:
        terminating = self._terminating.get(uid)
        return self._workers.get(uid) if terminating is None else terminating.worker

    def _track_terminating(self, inactive: Iterable[Worker], pods: Mapping[str, Pod], at: datetime) -> None:
        """Keep the workers whose pods have not ended yet."""
        known = {worker.uid: worker for worker in inactive}
        self._terminating = {
            uid: self._terminating.get(uid) or _Terminating(known.get(uid) or self.worker_type(pod, at), at)
            for uid, pod in pods.items()
        }

    def _add(self, pod: Pod, at: datetime) -> None:
        early = self._early_reports.pop(pod.uid, None)
        # A worker that reported before the API showed its pod is running, whatever that pod shows.
        worker = self._workers[pod.uid] = self.worker_type(pod, early.first_at if early is not None else at)
        if early is not None:
            worker.on_report(early.report, early.address, early.at)
            self._record_problems(worker)

    def _record_problems(self, worker: Worker) -> None:
        is_active, uid, report = worker.uid in self._workers, worker.uid, worker.report
        if (is_active and worker.dead_letters_blocked_since is not None) != (uid in self.dead_letters_blocked):
            self.dead_letters_blocked ^= {uid}
        lacks_one = report is not None and bool(report.unavailable_dependencies)
        if (is_active and lacks_one) != (uid in self.without_dependency):
            self.without_dependency ^= {uid}

    def _store_early_report(self, report: Report, address: str, at: datetime) -> None:
        """Store the report of a pod that the API has not shown yet, or shows no more; drop the oldest ones."""
        self._expire_early_reports(at)
        known = self._early_reports.pop(report.pod, None)
        first_at = known.first_at if known is not None else at
        if known is not None and known.report.incarnation == report.incarnation and known.report.number > report.number:
            report, address = known.report, known.address
        self._early_reports[report.pod] = _EarlyReport(report, address, at, first_at)
        if len(self._early_reports) > UNKNOWN_PODS:
            self._early_reports.popitem(last=False)

    def _expire_early_reports(self, at: datetime) -> None:
        while self._early_reports and at - next(iter(self._early_reports.values())).at >= REPORT_TIMEOUT:
            self._early_reports.popitem(last=False)
