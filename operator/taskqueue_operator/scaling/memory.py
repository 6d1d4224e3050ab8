"""What a decision must know of earlier ones. Kept by the caller, never written anywhere."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from .reading import Reading


class Recommendation(NamedTuple):
    """How many workers were wanted at a time."""

    at: datetime
    replicas: int


class Change(NamedTuple):
    """By how many workers the number was changed, by whomever, and when."""

    at: datetime
    by: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Fresh memory is `Memory()`: then nothing is lowered before a whole window has been seen.

    Attributes:
        began: When it began to be kept; what happened earlier is unknown.
        at: When the last decision was made, upon this number of `replicas`.
        highs: Wanted numbers, oldest first and strictly falling: one that was followed by a higher or equal one can
            never be the highest of a window again, so it is forgotten.
        lows: The same, strictly rising, for the lowest.
        changes: Changes of the number of replicas, oldest first, for as long as a rate counts them.
        busy_at: When there was last something to do, or no certainty that there was nothing.
        read_at: When the queue could last be read.
    """

    began: datetime | None = None
    at: datetime | None = None
    replicas: int = 0
    highs: tuple[Recommendation, ...] = ()
    lows: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
    busy_at: datetime | None = None
    read_at: datetime | None = None

    def see(self, reading: Reading, replicas: int, now: datetime, *, period: timedelta) -> Self:
        """Take note of what is read, and of changes since the last decision; they matter for a `period`."""
        changes = [change for change in self.changes if now - change.at < period]
        if self.at is not None and replicas != self.replicas and period:
            # Dated back to the decision it followed from: later, and a rate would count it for too long.
            changes.append(Change(self.at, replicas - self.replicas))
        return replace(
            self,
            began=self.began or now,
            at=now,
            replicas=replicas,
            changes=tuple(changes),
            busy_at=self.busy_at if self.busy_at is not None and is_quiet(reading) else now,
            read_at=self.read_at if self.read_at is not None and reading.blind else now,
        )

    def record(self, *, high: int, low: int, down: timedelta, up: timedelta) -> Self:
        """Add what is wanted now, and forget what can no longer matter to the windows; call after `see`.

        Args:
            high: What counts against the window of scaling in.
            low: What counts against that of scaling out.
            down: The window of scaling in.
            up: The window of scaling out.
        """
        now = self.at
        if now is None:
            raise ValueError("nothing was seen yet")
        return replace(
            self,
            highs=(
                *(each for each in _within(self.highs, now, down) if each.replicas > high),
                Recommendation(now, high),
            ),
            lows=(*(each for each in _within(self.lows, now, up) if each.replicas < low), Recommendation(now, low)),
        )

    @property
    def age(self) -> timedelta:
        """How long it has been kept."""
        return _span(self.began, self.at)

    @property
    def idle(self) -> timedelta:
        """How long there has certainly been nothing to do."""
        return _span(self.busy_at, self.at)

    @property
    def blind(self) -> timedelta:
        """How long the queue could not be read."""
        return _span(self.read_at, self.at)

    def changed_within(self, period: timedelta) -> int:
        """Say by how many workers the number has changed within a period."""
        return sum(change.by for change in self.changes if _span(change.at, self.at) < period)

    def highest(self) -> int:
        """Say what was the highest number wanted within the window; call after `record`."""
        return self.highs[0].replicas

    def lowest(self) -> int:
        """Say what was the lowest number wanted within the window; call after `record`."""
        return self.lows[0].replicas


def is_quiet(reading: Reading) -> bool:
    """Whether it is certain that nothing waits and nothing is being worked on."""
    return reading.at_most == 0 and reading.unacked == 0


def _span(begin: datetime | None, end: datetime | None) -> timedelta:
    return end - begin if begin is not None and end is not None else timedelta(0)


def _within(recommendations: Iterable[Recommendation], now: datetime, window: timedelta) -> Iterable[Recommendation]:
    return (each for each in recommendations if now - each.at < window)
