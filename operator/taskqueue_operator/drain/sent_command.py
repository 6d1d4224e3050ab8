"""The last `drain` or `undrain` command to a worker: its answer, and when it may be sent again."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from .protocol import Command, Result, Verb

ANSWER_TIMEOUT: Final = timedelta(seconds=5)
"""How long an answer is awaited, and how long a confirmed drain is relied on."""
RENEWAL_PERIOD: Final = timedelta(seconds=20)
"""Time between two `drain` commands that renew a drain lease."""


class SentCommand(NamedTuple):
    """A `drain` or `undrain` command that was sent.

    Attributes:
        command: The command.
        at: When it was sent.
        previous_unanswered: Whether the command before it was never answered.
        result: The answer; None until it arrives.
    """

    command: Command
    at: datetime
    previous_unanswered: bool = False
    result: Result | None = None

    @property
    def is_drain(self) -> bool:
        """Whether it is a `drain`; otherwise it is an `undrain`."""
        return self.command.command is Verb.DRAIN

    def awaits_answer(self, now: datetime) -> bool:
        """Whether it may still be answered."""
        return self.result is None and now - self.at < ANSWER_TIMEOUT

    def recently_refused(self, now: datetime) -> bool:
        """Whether it was refused a short while ago."""
        return self.result is Result.REFUSED and not self.may_resend(now)

    def may_resend(self, now: datetime) -> bool:
        """Whether it may be sent again: its answer is missing, or the drain lease needs a renewal."""
        drained = self.is_drain and self.result is Result.DONE
        return now - self.at >= (RENEWAL_PERIOD if drained or self.result is Result.REFUSED else ANSWER_TIMEOUT)
