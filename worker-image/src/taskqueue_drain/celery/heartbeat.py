"""Shows that the broker answers Celery on the channel on which it consumes."""

import time
from typing import Any, Final

from taskqueue_drain.health import Health
from taskqueue_drain.protocol_log import contained

from .round_trips import RoundTrips

BEAT_SECONDS: Final = 5.0


class Heartbeat:
    """Asks the broker every `BEAT_SECONDS`, on Celery's thread. An answer proves thread, connection and channel."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._trips: RoundTrips | None = None
        self._is_blocked = False

    def connected(self, connection: Any, trips: RoundTrips) -> None:  # noqa: ANN401 - amqp has no types
        """Celery has a new channel."""
        self._trips = trips
        self._is_blocked = False
        connection.on_blocked, connection.on_unblocked = self._on_blocked, self._on_unblocked
        self._answered()

    @contained
    def beat(self) -> None:
        """Ask, unless an answer is awaited."""
        if self._is_blocked:  # a broker with a memory alarm answers no client; a restart of the worker would not help
            self._answered()
        elif self._trips is not None and self._trips.are_answered:
            self._trips.begin(self._answered)

    def _answered(self) -> None:
        self._health.beat_at = time.monotonic()

    def _on_blocked(self, *_: object) -> None:
        self._is_blocked = True

    def _on_unblocked(self) -> None:
        self._is_blocked = False
