"""The rate of status writes and Events of the whole process. Conditions come first; figures use what is left."""

from datetime import UTC, datetime, timedelta
from typing import Final

WRITES_PER_SECOND: Final = 20


class WriteBudget:
    """Gives out turns to write, in the order of the requests. A turn is a time: no call waits in here."""

    def __init__(self, per_second: float = WRITES_PER_SECOND) -> None:
        self._interval = timedelta(seconds=1 / per_second)
        self._free_at = datetime.min.replace(tzinfo=UTC)

    def reserve(self, now: datetime) -> datetime:
        """Return the next free turn, which now belongs to the caller."""
        turn = max(now, self._free_at)
        self._free_at = turn + self._interval
        return turn

    def has_spare(self, now: datetime) -> bool:
        """Whether no write waits for its turn."""
        return self._free_at <= now
