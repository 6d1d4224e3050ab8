"""When a status changes by itself: conditions that depend on time are written when they are due."""

from datetime import datetime, timedelta
from typing import Final

RESOLUTION: Final = timedelta(milliseconds=1)
"""Timers may be early by this much."""


class Deadlines:
    """Answers which times have passed, and remembers the earliest one that has not.

    Each comparison of a time with the present is made here. So nothing that depends on time can lack its timer.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._next: datetime | None = None

    def has_passed(self, at: datetime) -> bool:
        """Whether a time has passed; if not, the status is built again then."""
        if at <= self.now:
            return True
        self._next = at if self._next is None else min(self._next, at)
        return False

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the next answer has changed; None if none will change."""
        return None if self._next is None else (self._next - self.now + RESOLUTION).total_seconds()
