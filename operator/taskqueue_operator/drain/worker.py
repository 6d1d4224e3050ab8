"""What the operator knows of one worker: by the API from its pod, by the broker from itself."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from taskqueue_operator.workers.api_objects import Pod

from .protocol import LEASE_SECONDS, Command, Report, Result, State, Verb
from .worker_state import RemovedState, WorkerState

ANSWER: Final = timedelta(seconds=5)
"""How long an answer is waited for, and how long what it proves is believed."""
LEASE: Final = timedelta(seconds=LEASE_SECONDS)
RENEWAL: Final = timedelta(seconds=20)
REPORT_TIMEOUT: Final = timedelta(seconds=45)
CURRENT: Final = timedelta(seconds=2)
"""How long a word is believed when the idle are chosen, and how long an answer is waited for before they are."""
READINESS_LAG: Final = timedelta(seconds=10)
"""How long the API may take to show whether a worker is ready."""
KEPT_INCARNATIONS: Final = 8
_UNREADY: Final = frozenset({State.STARTING, State.DRAINED, State.LEAVING})


class Sent(NamedTuple):
    """The last command to a worker.

    Attributes:
        command: What it was told.
        at: When.
        missed: Whether the one before it was never answered.
        result: The answer; None while there is none.
    """

    command: Command
    at: datetime
    missed: bool = False
    result: Result | None = None


@dataclass(slots=True)
class Worker:
    """One worker pod and what is known of who runs in it.

    Attributes:
        pod: As the API last showed it.
        shown_at: When the API first showed its container in the state in which it is.
        report: The last of the present incarnation.
        heard_at: When that arrived.
        address: Where a command reaches it.
        sent: The last command to this incarnation.
        proved_at: When the renewal was sent to which it answered `drained`, or when it was attested that it may go;
            None once anything contradicts.
        drained_at: When it was first heard to be drained, or seen to be idle, of the present stretch.
        turned_at: When it was first heard to be in a state in which it is ready, or is not.
        undrained_by: The `seq` with which it was last told to consume again: to drain it anew takes a higher one, or
            that command, late, could undo the new one.
        was: What it did before it was leaving.
        asked_at: When it was last asked to report.
    """

    pod: Pod
    shown_at: datetime
    report: Report | None = None
    heard_at: datetime | None = None
    address: str = ""
    sent: Sent | None = None
    proved_at: datetime | None = None
    drained_at: datetime | None = None
    turned_at: datetime | None = None
    undrained_by: int = -1
    was: State | None = None
    asked_at: datetime | None = None
    _numbers: dict[str, int] = field(default_factory=dict)

    def show(self, pod: Pod, at: datetime) -> None:
        """Take note of what the API shows of its pod."""
        known, self.pod = self.pod, pod
        if (known.restarts, known.bare) != (pod.restarts, pod.bare):
            # Its container ended or began: what was proved may have been proved by another one.
            self.shown_at, self.proved_at = at, None

    def hear(self, report: Report, address: str, at: datetime) -> None:
        """Take note of a report, and of the address that came with it; one that is late changes nothing."""
        if report.number <= self._numbers.get(report.incarnation, 0):
            return
        if self.report is None or (self.report.state in _UNREADY) != (report.state in _UNREADY):
            self.turned_at = at
        if self.report is not None and self.report.incarnation != report.incarnation:
            # Which of them runs only time tells: the reports of one that has ended come to an end.
            self.sent = self.proved_at = self.drained_at = self.was = None
        self._numbers.pop(report.incarnation, None)
        self._numbers[report.incarnation] = report.number
        if len(self._numbers) > KEPT_INCARNATIONS:
            del self._numbers[next(iter(self._numbers))]
        self.report, self.heard_at, self.address = report, at, address
        if report.state is not State.LEAVING:
            self.was = report.state
        if report.state is not State.DRAINED:
            self.proved_at = self.drained_at = None
        elif self.drained_at is None:
            self.drained_at = at
        self._hear_answer(report)

    def _hear_answer(self, report: Report) -> None:
        sent, answer = self.sent, report.answer
        if sent is None or answer is None or answer.id != sent.command.id:
            return
        self.sent = sent._replace(result=answer.result)
        told, by = sent.command, report.drain
        drained = told.command is Verb.DRAIN and answer.result is Result.DONE and report.state is State.DRAINED
        if drained and by is not None and (by.installation, by.epoch) == (told.installation, told.epoch):
            self.proved_at = sent.at

    def tell(self, command: Command, at: datetime) -> None:
        """Take note that it is told this now."""
        if command.command is Verb.REPORT:
            self.asked_at = at
            return
        missed = self.sent is not None and self.sent.result is None
        self.sent = Sent(command, at, missed)
        if command.command is Verb.UNDRAIN:
            self.proved_at, self.undrained_by = None, command.seq

    def mark_idle(self, at: datetime | None, idle_since: datetime | None) -> None:
        """Take note that it may be removed, without having been asked, or (None) that it may not."""
        self.proved_at, self.drained_at = at, idle_since

    @property
    def uid(self) -> str:
        """The UID of its pod."""
        return self.pod.uid

    @property
    def in_flight(self) -> int:
        """Tasks that it runs, by its last report."""
        return self.report.in_flight if self.report is not None else 0

    @property
    def idle_seconds(self) -> float:
        """How long it has had nothing to do, by its last report."""
        return self.report.idle_seconds if self.report is not None else 0.0

    @property
    def fails(self) -> bool:
        """Whether it crashes again and again, or cannot start at all."""
        return self.pod.trouble is not None

    @property
    def is_bare(self) -> bool:
        """Whether no container runs: by the API, and nothing was heard since that would contradict it."""
        return self.pod.bare and (self.heard_at is None or self.heard_at < self.shown_at)

    def standing(self, now: datetime) -> WorkerState:
        """Say what it does."""
        if self.is_bare:
            return WorkerState.NO_CONTAINER
        if self.report is None:
            return WorkerState.STARTING if now - self.shown_at < REPORT_TIMEOUT else WorkerState.SILENT
        return WorkerState(self.report.state) if self.is_reporting(now) else WorkerState.SILENT

    def is_reporting(self, now: datetime) -> bool:
        """Whether it has reported lately, so that it can be commanded."""
        return self.heard_at is not None and now - self.heard_at < REPORT_TIMEOUT

    def needs_report_request(self, now: datetime) -> bool:
        """Whether its last word is too old to choose by, and no answer to a question for another one may come."""
        if self.heard_at is None or now - self.heard_at < CURRENT:
            return False
        return self.asked_at is None or self.asked_at <= self.heard_at or now - self.asked_at >= ANSWER

    def awaits_report(self, now: datetime) -> bool:
        """Whether it was asked for its word a moment ago, and has not answered as yet."""
        heard_since = self.asked_at is None or (self.heard_at is not None and self.heard_at >= self.asked_at)
        return not heard_since and self.asked_at is not None and now - self.asked_at < CURRENT

    def report_overdue(self, now: datetime) -> bool:
        """Whether it was asked for its word and has not answered in time: it may be busy by now."""
        if self.asked_at is None or self.heard_at is None or self.heard_at >= self.asked_at:
            return False
        return now - self.asked_at >= CURRENT

    def is_removable(self, now: datetime) -> bool:
        """Whether it may be removed: drained by an answer that is young enough, or without a container."""
        return self.is_bare or (self.proved_at is not None and now - self.proved_at < ANSWER)

    def holds_lease(self, now: datetime) -> bool:
        """Whether it certainly stays as it is for a while longer: by a lease that it has confirmed."""
        return self.is_bare or (self.proved_at is not None and now - self.proved_at < LEASE - ANSWER)

    def awaits_answer(self, now: datetime) -> bool:
        """Whether its last command may still be answered."""
        return self.sent is not None and self.sent.result is None and now - self.sent.at < ANSWER

    def refuses(self, now: datetime) -> bool:
        """Whether it has refused its last command, not long ago: whatever it is told now, it will refuse again."""
        return self.sent is not None and self.sent.result is Result.REFUSED and not self.due(now)

    def answers(self, now: datetime) -> bool:
        """Whether it has done as it was last told, or may well do so."""
        if self.sent is None or self.sent.result is not None:
            return self.is_reporting(now) and not self.refuses(now)
        return not self.sent.missed and self.awaits_answer(now)

    def due(self, now: datetime) -> bool:
        """Whether it may be told the same again: not before an answer is missed, or a renewal due."""
        if self.sent is None:
            return True
        obeyed = self.sent.result is Result.DONE and self.sent.command.command is Verb.DRAIN
        return now - self.sent.at >= (RENEWAL if obeyed or self.sent.result is Result.REFUSED else ANSWER)

    def reports_drained_by(self, installation: str) -> bool:
        """Whether, by its last report, it is drained by this installation, under whatever epoch."""
        drain = self.report.drain if self.report is not None else None
        if self.report is None or drain is None or drain.installation != installation:
            return False
        return self.report.state in {State.DRAINING, State.DRAINED}

    def possibly_drained(self, installation: str, now: datetime) -> bool:
        """Whether it is drained, or may be without having said so."""
        if self.is_bare:
            return False
        if self.reports_drained_by(installation):
            return self.heard_at is not None and now - self.heard_at < LEASE
        if self.sent is None or self.sent.command.command is not Verb.DRAIN or self.sent.result is not None:
            return False
        unheard = self.heard_at is None or self.heard_at <= self.sent.at
        return now - self.sent.at < (LEASE if unheard else ANSWER)

    def going(self, installation: str, now: datetime) -> bool:
        """Whether it is, or may be, drained and was not asked to come back."""
        returns = self.sent is not None and self.sent.command.command is Verb.UNDRAIN
        return not returns and self.possibly_drained(installation, now)

    @property
    def reports_unready(self) -> bool:
        """Whether it is in a state in which it is not ready, whatever the API shows yet."""
        return self.report is not None and self.report.state in _UNREADY

    def readiness_settled(self, now: datetime) -> bool:
        """Whether what the API shows of its readiness is not of before; probes and watches take a while."""
        return self.turned_at is None or now - self.turned_at >= READINESS_LAG

    def victim(self) -> RemovedState:
        """Say what it did when its pod went."""
        if self.is_bare:
            return RemovedState.NO_CONTAINER
        if self.report is None and self.drained_at is not None:
            return RemovedState.IDLE
        if self.was is State.DRAINED and not self.in_flight:
            return RemovedState.DRAINED
        if self.was is State.DRAINING:
            return RemovedState.DRAINING
        return RemovedState.BUSY if self.in_flight else RemovedState.UNKNOWN
