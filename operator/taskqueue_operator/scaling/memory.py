"""What a decision must know of earlier ones. Kept by the caller, never written anywhere."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from .reading import Reading


class Recommendation(NamedTuple):
    """How many workers were wanted at a time."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Fresh memory is `Memory()`: then nothing is lowered before a whole window has been seen.

    Attributes:
        recommendations: Wanted numbers, oldest first and strictly falling: one that was followed by a higher or
            equal one can never be the highest of a window again, so it is forgotten.
        busy_at: When there was last something to do, or no certainty that there was nothing.
    """

    recommendations: tuple[Recommendation, ...] = ()
    busy_at: datetime | None = None

    def see(self, reading: Reading, now: datetime) -> Self:
        """Take note of whether there is anything to do."""
        if self.busy_at is not None and is_quiet(reading):
            return self
        return replace(self, busy_at=now)

    def record(self, replicas: int, now: datetime, window: timedelta) -> Self:
        """Add a wanted number, and forget those that can no longer matter."""
        kept = [r for r in self.recommendations if r.replicas > replicas and now - r.at <= window]
        return replace(self, recommendations=(*kept, Recommendation(now, replicas)))

    def highest(self) -> int:
        """Say what was the highest number wanted within the window; call after `record`."""
        return self.recommendations[0].replicas


def is_quiet(reading: Reading) -> bool:
    """Whether it is certain that nothing waits and nothing is being worked on."""
    return reading.at_most == 0 and reading.unacked == 0
