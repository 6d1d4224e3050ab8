"""Shows that Celery reads what the broker answers on the channel on which it consumes."""

import time
from typing import Final

from taskqueue_drain.health import Health
from taskqueue_drain.protocol_log import contained

from .round_trips import RoundTrips

BEAT_SECONDS: Final = 5.0


class Heartbeat:
    """Asks the broker every `BEAT_SECONDS`, on Celery's thread. An answer proves thread, connection and channel."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._trips: RoundTrips | None = None

    def connected(self, trips: RoundTrips) -> None:
        """Celery has a new channel."""
        self._trips = trips
        self._beat()

    @contained
    def beat(self) -> None:
        """Ask, unless an answer is awaited."""
        if self._trips is not None and self._trips.are_answered:
            self._trips.begin(self._beat)

    def _beat(self) -> None:
        self._health.beat_at = time.monotonic()
