"""The connection of the control channel, for runtimes with kombu."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final

import amqp
import kombu

from .control_thread import Session
from .protocol import CONTENT_TYPE, DIRECT_REPLY_TO, EXCHANGE

HEARTBEAT_SECONDS: Final = 15
TIMEOUT_SECONDS: Final = 10
"""How long one answer or write may take. A broker with a memory alarm does not read from connections that publish."""


class KombuSession:
    """A connection that consumes direct reply-to (`taskqueue_drain.control_thread.Session`).

    Attributes:
        is_blocked: See `Session`.
    """

    def __init__(self, connection: kombu.Connection, taskqueue: str) -> None:
        """Consume on a connection that is open.

        Raises:
            OSError: The broker did not answer in time.
        """
        self._connection = connection
        self._taskqueue = taskqueue
        self._bodies: list[bytes] = []
        self.is_blocked = False
        connection.connection.on_blocked = self._on_blocked
        connection.connection.on_unblocked = self._on_unblocked
        self._channel = connection.channel()
        self._channel.auto_decode = False  # a body is parsed as it is, whatever encoding its sender states
        self._channel.basic_consume(DIRECT_REPLY_TO, no_ack=True, callback=self._on_message)

    def publish(self, report: bytes) -> None:
        """See `Session`."""
        properties = {"content_type": CONTENT_TYPE, "delivery_mode": 1, "reply_to": DIRECT_REPLY_TO, "type": "report"}
        self._channel.basic_publish(amqp.Message(report, **properties), exchange=EXCHANGE, routing_key=self._taskqueue)

    def receive(self, seconds: float) -> Sequence[bytes]:
        """See `Session`."""
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)
        self._connection.heartbeat_check(rate=2)
        bodies, self._bodies = self._bodies, []
        return bodies

    def wake(self) -> None:
        """See `Session`. amqp cannot; Celery waits for no last report."""

    def _on_blocked(self, _: str) -> None:
        self.is_blocked = True

    def _on_unblocked(self) -> None:
        self.is_blocked = False

    def _on_message(self, message: Any) -> None:  # noqa: ANN401 - amqp has no types
        self._bodies.append(message.body or b"")  # amqp gives a message without a body an empty str


def kombu_sessions(template: kombu.Connection, taskqueue: str) -> Callable[[], AbstractContextManager[Session]]:
    """Return what opens a session to the broker of the template, for `taskqueue_drain.control_thread.ControlThread`."""

    @contextmanager
    def open_session() -> Iterator[KombuSession]:
        # Celery clears the timeout of its own connects where gevent has patched the sockets.
        with template.clone(heartbeat=HEARTBEAT_SECONDS, connect_timeout=TIMEOUT_SECONDS) as connection:
            connection.transport_options = {
                **template.transport_options,
                "client_properties": {"connection_name": f"{taskqueue} control"},
                "confirm_publish": False,
            }
            connection.connect()
            connection.connection.sock.settimeout(TIMEOUT_SECONDS)
            yield KombuSession(connection, taskqueue)

    return open_session
