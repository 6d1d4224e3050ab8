"""What a decision needs to know of earlier decisions. The caller keeps it in process memory and never stores it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from .reading import Reading


class Recommendation(NamedTuple):
    """A number of workers that was recommended at a time."""

    at: datetime
    replicas: int


class Change(NamedTuple):
    """A change of the number of replicas, by the operator or by another client."""

    at: datetime
    by: int


@dataclass(frozen=True, slots=True)
class Memory:
    """State between decisions. A new memory is `Memory()`: no scale-in happens before a whole window has passed.

    Attributes:
        began: Time of the first decision; what happened before is unknown.
        at: Time of the last decision.
        replicas: Number of replicas at the last decision.
        highs: Recommendations, oldest first and strictly falling. A recommendation that is followed by one that is
            equal or higher can never be the highest of a window again, so it is dropped.
        lows: The same, strictly rising, for the lowest recommendation.
        changes: Changes of the number of replicas, oldest first, for as long as a rate policy counts them.
        busy_at: Last time at which the queue was not certainly idle.
        read_at: Last time at which the queue was readable.
    """

    began: datetime | None = None
    at: datetime | None = None
    replicas: int = 0
    highs: tuple[Recommendation, ...] = ()
    lows: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
    busy_at: datetime | None = None
    read_at: datetime | None = None

    def observe(self, reading: Reading, replicas: int, now: datetime, *, period: timedelta) -> Self:
        """Return a memory that includes the current reading, and the change of replicas since the last decision.

        Args:
            reading: The current reading.
            replicas: The current number of replicas.
            now: The present time.
            period: How long changes are kept; the longest period of the rate policies.
        """
        changes = [change for change in self.changes if now - change.at < period]
        if self.at is not None and replicas != self.replicas and period:
            # Dated at the decision that caused it: with a later date, rate policies would count it for too long.
            changes.append(Change(self.at, replicas - self.replicas))
        return replace(
            self,
            began=self.began or now,
            at=now,
            replicas=replicas,
            changes=tuple(changes),
            busy_at=self.busy_at if self.busy_at is not None and reading.is_empty else now,
            read_at=self.read_at if self.read_at is not None and reading.unreadable else now,
        )

    def record(self, *, high: int, low: int, down: timedelta, up: timedelta) -> Self:
        """Return a memory that includes the current recommendation, without those that have left their window.

        Args:
            high: Recommendation for the scale-down window.
            low: Recommendation for the scale-up window.
            down: Length of the scale-down window.
            up: Length of the scale-up window.

        Raises:
            ValueError: `observe` was not called before.
        """
        now = self.at
        if now is None:
            raise ValueError("call observe() before record()")
        highs = (past for past in _within(self.highs, now, down) if past.replicas > high)
        lows = (past for past in _within(self.lows, now, up) if past.replicas < low)
        return replace(self, highs=(*highs, Recommendation(now, high)), lows=(*lows, Recommendation(now, low)))

    @property
    def age(self) -> timedelta:
        """Time since the first decision."""
        return _elapsed(self.began, self.at)

    @property
    def idle_for(self) -> timedelta:
        """How long the queue has certainly been idle."""
        return _elapsed(self.busy_at, self.at)

    @property
    def unreadable_for(self) -> timedelta:
        """How long the queue has been unreadable."""
        return _elapsed(self.read_at, self.at)

    def changed_within(self, period: timedelta) -> int:
        """Return by how many replicas the number has changed within a period."""
        return sum(change.by for change in self.changes if _elapsed(change.at, self.at) < period)

    def highest(self) -> int:
        """Return the highest recommendation within the window; call after `record`."""
        return self.highs[0].replicas

    def lowest(self) -> int:
        """Return the lowest recommendation within the window; call after `record`."""
        return self.lows[0].replicas


def _elapsed(begin: datetime | None, end: datetime | None) -> timedelta:
    return end - begin if begin is not None and end is not None else timedelta(0)


def _within(recommendations: Iterable[Recommendation], now: datetime, window: timedelta) -> Iterable[Recommendation]:
    return (recommendation for recommendation in recommendations if now - recommendation.at < window)
