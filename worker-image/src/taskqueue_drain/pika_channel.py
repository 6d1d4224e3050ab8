"""The connection of the control channel, for runtimes with pika."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from itertools import count
from typing import Any, Final

from pika import BasicProperties, ConnectionParameters, PlainCredentials, SelectConnection, SSLOptions
from pika.adapters.select_connection import IOLoop

from .broker import CONNECT_TIMEOUT_SECONDS, HEARTBEAT_SECONDS, Broker
from .control_thread import Session
from .protocol import CONTENT_TYPE, DIRECT_REPLY_TO, EXCHANGE

CLOSE_TIMEOUT_SECONDS: Final = 1
"""Short: a broker with a memory alarm does not read from connections that publish, not even the close."""
BLOCKED_TIMEOUT_SECONDS: Final = 60
"""How long reports are written to a broker that does not read them, before the connection is given up."""


class PikaSession:
    """A connection that consumes direct reply-to (`taskqueue_drain.control_thread.Session`).

    Not a BlockingConnection: that one waits without limit for a broker that does not read.

    Attributes:
        is_blocked: See `Session`.
    """

    def __init__(self, parameters: ConnectionParameters, taskqueue: str) -> None:
        """Begin to connect; `open` waits for it."""
        self._taskqueue = taskqueue
        self._loop = IOLoop()
        self._bodies: list[bytes] = []
        self._fault: BaseException | None = None
        self._channel: Any = None
        self._is_open = False
        self.is_blocked = False
        self._connection = SelectConnection(
            parameters, self._on_connected, self._on_lost, self._on_lost, custom_ioloop=self._loop
        )

    def open(self) -> None:
        """Wait until the session consumes.

        Raises:
            TimeoutError: The broker does not answer.
        """
        self._run(CONNECT_TIMEOUT_SECONDS)
        if not self._is_open:
            raise TimeoutError(f"the broker did not answer within {CONNECT_TIMEOUT_SECONDS} s")

    def publish(self, report: bytes) -> None:
        """See `Session`."""
        properties = BasicProperties(
            content_type=CONTENT_TYPE, delivery_mode=1, reply_to=DIRECT_REPLY_TO, type="report"
        )
        self._channel.basic_publish(EXCHANGE, self._taskqueue, report, properties)

    def receive(self, seconds: float) -> Sequence[bytes]:
        """See `Session`."""
        self._run(seconds)
        bodies, self._bodies = self._bodies, []
        return bodies

    def wake(self) -> None:
        """See `Session`."""
        self._loop.add_callback_threadsafe(self._on_wake)

    def close(self) -> None:
        """Close the connection, if the broker reads."""
        try:
            if self._connection.is_open:
                self._connection.close()
                self._loop.call_later(CLOSE_TIMEOUT_SECONDS, self._loop.stop)
                self._loop.start()
        finally:
            self._loop.close()

    def _run(self, seconds: float) -> None:
        """Handle what arrives, at most so long, and at most until something has arrived."""
        if self._fault is None:
            timer = self._loop.call_later(seconds, self._loop.stop)
            self._loop.start()
            self._loop.remove_timeout(timer)
        if self._fault is not None:
            raise self._fault

    def _on_connected(self, connection: Any) -> None:  # noqa: ANN401 - pika has no types
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel)

    def _on_wake(self) -> None:
        if self._connection.is_open:  # otherwise the loop waits for the end of a close, and for the last report
            self._loop.stop()

    def _on_blocked(self, *_: object) -> None:
        self.is_blocked = True

    def _on_unblocked(self, *_: object) -> None:
        self.is_blocked = False

    def _on_channel(self, channel: Any) -> None:  # noqa: ANN401 - pika has no types
        self._channel = channel
        channel.add_on_close_callback(self._on_lost)
        channel.basic_consume(DIRECT_REPLY_TO, self._on_message, auto_ack=True, callback=self._on_consuming)

    def _on_consuming(self, _: object) -> None:
        self._is_open = True
        self._loop.stop()

    def _on_message(self, channel: object, method: object, properties: object, body: bytes) -> None:  # noqa: ARG002 - pika's signature
        self._bodies.append(body)
        self._loop.stop()

    def _on_lost(self, _: object, fault: BaseException) -> None:
        """The connection was not opened, or it or its channel was closed."""
        self._fault = self._fault or fault
        self._loop.stop()


def pika_sessions(
    addresses: Callable[[], Sequence[ConnectionParameters]], taskqueue: str
) -> Callable[[], AbstractContextManager[Session]]:
    """Return what opens a session, for `taskqueue_drain.control_thread.ControlThread`.

    Args:
        addresses: Reads how the broker is reached; the sessions try its nodes in turn.
        taskqueue: Name of the TaskQueue.
    """
    turns = count()

    @contextmanager
    def open_session() -> Iterator[PikaSession]:
        nodes = addresses()
        parameters = copy(nodes[next(turns) % len(nodes)])
        parameters.client_properties = {"connection_name": f"{taskqueue} control"}
        parameters.heartbeat = HEARTBEAT_SECONDS
        parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_SECONDS
        session = PikaSession(parameters, taskqueue)
        try:
            session.open()
            yield session
        finally:
            session.close()

    return open_session


def connection_parameters(broker: Broker, name: str) -> ConnectionParameters:
    """Return how pika connects to a broker.

    Raises:
        BrokerError: A certificate file cannot be loaded.
    """
    return ConnectionParameters(
        host=broker.host,
        port=broker.port,
        virtual_host=broker.vhost,
        credentials=PlainCredentials(broker.username, broker.password),
        ssl_options=SSLOptions(broker.ssl_context(), broker.host) if broker.tls else None,
        socket_timeout=CONNECT_TIMEOUT_SECONDS,
        stack_timeout=CONNECT_TIMEOUT_SECONDS,
        client_properties={"connection_name": name},
    )
