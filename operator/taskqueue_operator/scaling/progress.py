"""Whether messages leave a queue, as far as its figures show: the sum of ready and unacked messages falls at times."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from .decision import Workers
from .policy import Policy
from .reading import Reading


@dataclass(frozen=True, slots=True)
class Progress:
    """Since when no message has left a queue although all allowed workers hold some.

    Attributes:
        since: The beginning; None while messages leave it, or more workers may be added, or nothing waits.
        total: The number of messages at the last reading.
    """

    since: datetime | None = None
    total: int = 0

    def observe(self, reading: Reading, workers: Workers, policy: Policy) -> Self:
        """Return the progress after a further reading."""
        ready, unacked = reading.at_least, reading.held_at_least
        if ready is None or unacked is None:
            return self  # unknown is no progress, and no lack of it
        total, at_limit = ready + unacked, workers.replicas >= policy.max_replicas
        if not at_limit or not ready or not unacked or total < self.total:
            return type(self)(None, total)
        return type(self)(self.since or reading.at, total)

    def stalled_for(self, now: datetime) -> timedelta:
        """Return for how long no message has left the queue."""
        return now - self.since if self.since is not None else timedelta(0)
