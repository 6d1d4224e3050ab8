"""Shows that Celery reads what the broker answers on the channel on which it consumes."""

import select
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
        self._connection: Any = None

    def connected(self, connection: Any, trips: RoundTrips) -> None:  # noqa: ANN401 - amqp has no types
        """Celery has a new channel."""
        self._connection, self._trips = connection, trips
        self._beat()

    @contained
    def beat(self) -> None:
        """Ask, unless an answer is awaited."""
        if self._trips is None:
            return
        if self._trips.are_answered:
            self._trips.begin(self._beat)
        elif not _is_readable(self._connection.sock):
            # The broker has not answered: during a memory alarm it answers no client that has published. A restart of
            # the worker would not help, and Celery itself ends a connection that is lost.
            self._beat()

    def _beat(self) -> None:
        self._health.beat_at = time.monotonic()


def _is_readable(sock: Any) -> bool:  # noqa: ANN401 - a socket, with or without TLS
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
