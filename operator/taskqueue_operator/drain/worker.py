"""What the operator knows of one worker: from the API server about its pod, from its reports about itself."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.workers.api_objects import Pod

from .protocol import LEASE_SECONDS, Command, Report, Result, State, Verb
from .sent_command import ANSWER_TIMEOUT, SentCommand
from .worker_state import WorkerState

DRAIN_LEASE: Final = timedelta(seconds=LEASE_SECONDS)
REPORT_TIMEOUT: Final = timedelta(seconds=45)
"""Without a report for this long, a worker is silent."""
READINESS_LAG: Final = timedelta(seconds=10)
"""How long the API may take to show a change of readiness: probe, kubelet and watch."""
OVERDUE_MARGIN: Final = timedelta(seconds=30)
"""How long after its timeout a running task counts as one that never ends: it was cancelled, and did not end."""
MAX_INCARNATIONS: Final = 8
_UNREADY: Final = frozenset({State.STARTING, State.DRAINED, State.LEAVING})


@dataclass(slots=True)
class Worker:
    """One worker pod and the process in it.

    Attributes:
        pod: As the API last showed it.
        container_changed_at: When the API first showed its container in the present state.
        report: The last report of the present incarnation.
        reported_at: When that report arrived.
        address: Where to send commands.
        last_command: The last `drain` or `undrain` to this incarnation.
        confirmed_at: When the command was sent after which the worker reported that it has stopped, or when it was
            marked idle; None as soon as anything contradicts. A removal relies on it.
        drained_at: When it first reported that it has stopped, or when it was first seen idle, without interruption
            since.
        draining_since: When it first reported `draining`, without interruption since.
        dead_letters_blocked_since: When it first reported messages whose dead letter no queue takes, without
            interruption since.
        readiness_changed_at: When it first reported a state of the present readiness.
        undrain_seq: The `seq` of its last `undrain`. The next `drain` needs a higher one, or that `undrain`, if it
            arrives late, reverts the drain.
        last_active_state: Its last state before `leaving`.
        report_requested_at: When it was last asked to report.
    """

    pod: Pod
    container_changed_at: datetime
    report: Report | None = None
    reported_at: datetime | None = None
    address: str = ""
    last_command: SentCommand | None = None
    confirmed_at: datetime | None = None
    drained_at: datetime | None = None
    draining_since: datetime | None = None
    dead_letters_blocked_since: datetime | None = None
    readiness_changed_at: datetime | None = None
    undrain_seq: int = -1
    last_active_state: State | None = None
    report_requested_at: datetime | None = None
    _numbers: dict[str, int] = field(default_factory=dict)

    # Events.

    def on_pod(self, pod: Pod, at: datetime) -> None:
        """Store what the API shows of the pod."""
        before, self.pod = self.pod, pod
        if (before.restarts, before.container_stopped) != (pod.restarts, pod.container_stopped):
            # The container ended or started: another process may have confirmed the drain.
            self.container_changed_at, self.confirmed_at = at, None

    def on_report(self, report: Report, address: str, at: datetime) -> None:
        """Store a report and the address it came with. A report older than the last one is ignored."""
        if report.number <= self._numbers.get(report.incarnation, 0):
            return
        if self.report is None or (self.report.state in _UNREADY) != (report.state in _UNREADY):
            self.readiness_changed_at = at
        if self.report is not None and self.report.incarnation != report.incarnation:
            # Which of the two runs shows only with time: an ended process sends no more reports.
            self.last_command = self.confirmed_at = self.drained_at = self.last_active_state = None
            self.draining_since = None
        self._numbers.pop(report.incarnation, None)
        self._numbers[report.incarnation] = report.number
        if len(self._numbers) > MAX_INCARNATIONS:
            del self._numbers[next(iter(self._numbers))]
        self.report, self.reported_at, self.address = report, at, address
        self.dead_letters_blocked_since = (
            (self.dead_letters_blocked_since or at) if report.dead_letters_blocked else None
        )
        self._on_state(report.state, at)
        self._on_answer(report)

    def _on_state(self, state: State, at: datetime) -> None:
        if state is not State.LEAVING:
            self.last_active_state = state
        self.draining_since = (self.draining_since or at) if state is State.DRAINING else None
        if self.has_stopped:
            self.drained_at = self.drained_at or at
        else:
            self.confirmed_at = self.drained_at = None

    def _on_answer(self, report: Report) -> None:
        sent, answer = self.last_command, report.answer
        if sent is None or answer is None or answer.id != sent.command.id:
            return
        self.last_command = sent._replace(result=answer.result)
        command, drain = sent.command, report.drain
        drained = sent.is_drain and answer.result is Result.DONE and self.has_stopped
        if drained and drain is not None and (drain.installation, drain.epoch) == (command.installation, command.epoch):
            self.confirmed_at = sent.at

    def on_command_sent(self, command: Command, at: datetime) -> None:
        """Record a command that is being sent."""
        if command.command is Verb.REPORT:
            self.report_requested_at = at
            return
        before = self.last_command
        self.last_command = SentCommand(command, at, previous_unanswered=before is not None and before.result is None)
        if command.command is Verb.UNDRAIN:
            self.confirmed_at, self.undrain_seq = None, command.seq

    def mark_idle(self, at: datetime | None, idle_since: datetime | None) -> None:
        """Record at what time it was found removable without a command; None if it is not."""
        self.confirmed_at, self.drained_at = at, idle_since

    # What is known.

    @property
    def uid(self) -> str:
        """The UID of its pod."""
        return self.pod.uid

    @property
    def in_flight(self) -> int:
        """Running tasks, by its last report."""
        return self.report.in_flight if self.report is not None else 0

    @property
    def idle_seconds(self) -> float:
        """How long it has been idle, by its last report."""
        return self.report.idle_seconds if self.report is not None else 0.0

    @property
    def is_failing(self) -> bool:
        """Whether it crashes repeatedly or cannot start."""
        return self.pod.problem is not None

    @property
    def has_no_container(self) -> bool:
        """Whether no container runs: the API shows none, and no report since contradicts that."""
        return self.pod.container_stopped and (self.reported_at is None or self.reported_at < self.container_changed_at)

    def state(self, now: datetime) -> WorkerState:
        """Return what it does."""
        if self.has_no_container:
            return WorkerState.NO_CONTAINER
        if self.report is None:
            return WorkerState.STARTING if now - self.container_changed_at < REPORT_TIMEOUT else WorkerState.SILENT
        return WorkerState(self.report.state) if self.is_reporting(now) else WorkerState.SILENT

    def is_reporting(self, now: datetime) -> bool:
        """Whether it has reported recently, so that a command can reach it."""
        return self.reported_at is not None and now - self.reported_at < REPORT_TIMEOUT

    @property
    def has_stopped(self) -> bool:
        """Whether, by its last report, it is drained, or is draining and runs only tasks that never end."""
        return self.report is not None and (self.report.state is State.DRAINED or self.is_overdue)

    @property
    def is_overdue(self) -> bool:
        """Whether it is draining, and all its running tasks have exceeded its timeout, by its last report.

        A drained worker starts no task: once it has been draining for that long, every task that still runs has.
        """
        report, since = self.report, self.draining_since
        if report is None or since is None or self.reported_at is None:
            return False
        limit = timedelta(seconds=report.task_timeout_seconds) + OVERDUE_MARGIN
        oldest = timedelta(seconds=report.oldest_seconds or 0)
        return oldest > limit and (report.in_flight == 1 or self.reported_at - since > limit)

    def never_consumed(self, now: datetime) -> bool:
        """Whether it certainly has not consumed since its container started: it neither was ready nor has reported."""
        return self.report is None and self.pod.never_ready and now - self.container_changed_at >= REPORT_TIMEOUT

    # Drain.

    def is_removable(self, now: datetime) -> bool:
        """Whether it may be removed: its drain was confirmed recently, or it runs no task for want of a process.

        Such a worker has no container, or has never consumed.
        """
        confirmed = self.confirmed_at is not None and now - self.confirmed_at < ANSWER_TIMEOUT
        return confirmed or self.has_no_container or self.never_consumed(now)

    def holds_lease(self, now: datetime) -> bool:
        """Whether it certainly stays drained for a while, by a lease that it has confirmed."""
        held_for = DRAIN_LEASE - ANSWER_TIMEOUT
        confirmed = self.confirmed_at is not None and now - self.confirmed_at < held_for
        return confirmed or self.has_no_container or self.never_consumed(now)

    def awaits_answer(self, now: datetime) -> bool:
        """Whether its last command may still be answered."""
        return self.last_command is not None and self.last_command.awaits_answer(now)

    def recently_refused(self, now: datetime) -> bool:
        """Whether it refused its last command a short while ago. It would refuse the next one as well."""
        return self.last_command is not None and self.last_command.recently_refused(now)

    def may_resend(self, now: datetime) -> bool:
        """Whether the last command may be sent again, if there is one."""
        return self.last_command is None or self.last_command.may_resend(now)

    def is_responsive(self, now: datetime) -> bool:
        """Whether it has done what the last command says, or may be doing it."""
        sent = self.last_command
        if sent is None or sent.result is not None:
            return self.is_reporting(now) and not self.recently_refused(now)
        return not sent.previous_unanswered and sent.awaits_answer(now)

    def reports_drained_by(self, installation: str) -> bool:
        """Whether its last report says that this installation has drained it, in whichever epoch."""
        drain = self.report.drain if self.report is not None else None
        if self.report is None or drain is None or drain.installation != installation:
            return False
        return self.report.state in {State.DRAINING, State.DRAINED}

    def possibly_drained(self, installation: str, now: datetime) -> bool:
        """Whether it is drained, or may be without having reported it yet."""
        if self.has_no_container:
            return False
        if self.reports_drained_by(installation):
            return self.reported_at is not None and now - self.reported_at < DRAIN_LEASE
        sent = self.last_command
        if sent is None or not sent.is_drain or sent.result is not None:
            return False
        no_report_since = self.reported_at is None or self.reported_at <= sent.at
        return now - sent.at < (DRAIN_LEASE if no_report_since else ANSWER_TIMEOUT)

    def drain_requested(self, installation: str, now: datetime) -> bool:
        """Whether it is, or may be, drained, and no `undrain` was sent."""
        undrained = self.last_command is not None and not self.last_command.is_drain
        return not undrained and self.possibly_drained(installation, now)

    @property
    def reports_unready(self) -> bool:
        """Whether its reported state is an unready one, whatever the API shows yet."""
        return self.report is not None and self.report.state in _UNREADY

    def readiness_settled(self, now: datetime) -> bool:
        """Whether the API has had the time to show the present readiness."""
        return self.readiness_changed_at is None or now - self.readiness_changed_at >= READINESS_LAG
