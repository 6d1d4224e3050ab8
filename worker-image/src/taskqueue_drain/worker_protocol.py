"""The worker's side of the control protocol: commands in, reports out. It has no I/O and no clock."""

from collections import deque
from typing import Final, NamedTuple

from .bounds import ANSWERS
from .drain_lease import LEAVING, DrainLease
from .protocol import (
    Answer,
    Command,
    Figures,
    Identity,
    Result,
    State,
    Verb,
    build_report,
    current_state,
    parse_command,
)
from .runtime import Observer, Runtime

CANCEL_TIMEOUT_SECONDS: Final = 4
"""How long the broker may take to cancel the consumers for certain. The operator waits 5 s for the answer."""
REPORT_PERIOD_SECONDS: Final = 15
DRAINING_REPORT_PERIOD_SECONDS: Final = 5

NOT_CERTAIN: Final = "the broker did not confirm that the consumers are cancelled"
UNDRAINED: Final = "undrained before the consumers were cancelled"
LEASE_EXPIRED: Final = "the drain lease expired before the consumers were cancelled"


class _Urgent(NamedTuple):
    """What is reported as soon as it changes."""

    state: State
    holds_dead_letters: bool
    unavailable_dependencies: tuple[str, ...]


class WorkerProtocol:
    """Accepts or refuses each command when it is read, and answers it when the runtime has carried it out.

    Times are seconds of one monotonic clock. All methods are called on one thread: that of the runtime.
    """

    def __init__(self, identity: Identity, runtime: Runtime, observer: Observer) -> None:
        """Start with a worker that consumes, or is about to."""
        self._identity = identity
        self._runtime = runtime
        self._observer = observer
        self._lease = DrainLease()
        self._stopped = False
        self._leaving = False
        self._unconfirmed: list[Command] = []
        self._confirm_by = 0.0
        self._answers: deque[Answer] = deque(maxlen=ANSWERS)
        self._number = 0
        self._reported: _Urgent | None = None
        self._reported_at = 0.0

    @property
    def identity(self) -> Identity:
        """The fields of each report that identify the worker."""
        return self._identity

    @property
    def state(self) -> State:
        """The state of the worker now."""
        return self._observe()[0]

    @property
    def reported_state(self) -> State | None:
        """The state in the last report of this control channel."""
        return self._reported and self._reported.state

    def receive(self, body: bytes, now: float) -> None:
        """A message arrived: carry out its command, refuse it, or ignore it."""
        message = parse_command(body, self._identity.incarnation)
        if message is None:
            self._observer.handled("unknown", "ignored")
        elif isinstance(message, Answer):
            self._answer("unknown", message)
        elif reason := self._lease.apply(message, now):
            self._refuse(message, reason)
        else:
            self._carry_out(message, now)

    def advance(self, now: float) -> None:
        """Do what is due: after each change of the runtime, and at `next_at`.

        Answers the drains once the consumers are cancelled for certain. After `CANCEL_TIMEOUT_SECONDS` it refuses them,
        and at the end of the drain lease it ends the drain: the worker then consumes again.
        """
        if self._lease.has_expired(now):
            self._resume("drain lease expired", LEASE_EXPIRED)
        elif self._unconfirmed and self._runtime.is_quiet:
            for command in self._unconfirmed:
                self._answer(command.verb, Answer(command.id))
            self._unconfirmed.clear()
        elif self._unconfirmed and now >= self._confirm_by:
            self._resume("drain not confirmed", NOT_CERTAIN)

    def next_at(self, now: float) -> float | None:
        """Return the next time after `now` at which something is due; None if only a change can make it so."""
        times = [self._report_due_at(now)]
        if self._unconfirmed:
            times.append(self._confirm_by)
        if (expires_at := self._lease.expires_at) is not None:
            times.append(expires_at)
        return min((time for time in times if time > now), default=None)

    def begin_shutdown(self) -> None:
        """Stop consuming for good, and refuse the drains that wait for their confirmation."""
        self._leaving = True
        self._lease.begin_shutdown()
        self._refuse_unconfirmed(LEAVING)
        self._stop()

    def begin_channel(self) -> None:
        """A control channel was opened: commands of a former one can no longer be answered, and a report is due."""
        self._answers.clear()
        self._reported = None

    def is_report_due(self, now: float) -> bool:
        """Whether an answer waits, what is urgent has changed, or the report period has ended."""
        return self._report_due_at(now) <= now

    def report(self, now: float) -> bytes:
        """Build the next report, with the first answer that waits."""
        state, figures = self._observe()
        self._number += 1
        self._reported, self._reported_at = _urgent(state, figures), now
        answer = self._answers.popleft() if self._answers else None
        return build_report(self._identity, self._number, state, figures, self._lease.holder(now), answer)

    def _observe(self) -> tuple[State, Figures]:
        # In this order: in a quiet worker no task starts, but a worker without a task may start one and become quiet.
        quiet = self._runtime.is_quiet
        figures = self._runtime.figures()
        state = current_state(
            leaving=self._leaving,
            closed=self._stopped,
            quiet=quiet,
            busy=figures.is_busy,
            consuming=self._runtime.is_consuming,
        )
        return state, figures

    def _report_due_at(self, now: float) -> float:
        state, figures = self._observe()
        if self._answers or self._reported != _urgent(state, figures):
            return now
        is_draining = state in {State.DRAINING, State.DRAINED}
        return self._reported_at + (DRAINING_REPORT_PERIOD_SECONDS if is_draining else REPORT_PERIOD_SECONDS)

    def _carry_out(self, command: Command, now: float) -> None:
        match command.verb:
            case Verb.DRAIN:
                if not self._unconfirmed:
                    self._confirm_by = now + CANCEL_TIMEOUT_SECONDS
                self._unconfirmed.append(command)
                if not self._stopped:
                    self._observer.draining(command.drain)
                self._stop()
            case Verb.UNDRAIN:
                self._resume("undrained", UNDRAINED)
                self._answer(command.verb, Answer(command.id))
            case Verb.REPORT:
                self._answer(command.verb, Answer(command.id))

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._runtime.stop_consuming()

    def _resume(self, event: str, reason: str) -> None:
        """End the drain and consume again, if the worker is drained and not leaving."""
        self._lease.end()
        self._refuse_unconfirmed(reason)
        if self._stopped and not self._leaving:
            self._stopped = False
            self._observer.resumed(event)
            self._runtime.consume()

    def _refuse_unconfirmed(self, reason: str) -> None:
        for command in self._unconfirmed:
            self._refuse(command, reason)
        self._unconfirmed.clear()

    def _refuse(self, command: Command, reason: str) -> None:
        self._answer(command.verb, Answer(command.id, Result.REFUSED, reason))

    def _answer(self, command: str, answer: Answer) -> None:
        self._observer.handled(command, answer.result, answer.reason)
        self._answers.append(answer)


def _urgent(state: State, figures: Figures) -> _Urgent:
    return _Urgent(state, figures.dead_letters_blocked > 0, figures.unavailable_dependencies)
