"""The control channel of a runtime with kombu: a thread carries reports and commands over a connection of its own."""

import threading
import time
from typing import Any, Final

import amqp
import kombu

from .backoff import Backoff
from .protocol import CONTENT_TYPE, DIRECT_REPLY_TO, EXCHANGE, State
from .runtime import Observer
from .worker_protocol import WorkerProtocol

POLL_SECONDS: Final = 1.0
DRAINING_POLL_SECONDS: Final = 0.1
"""How often the runtime is asked whether something has changed."""
HEARTBEAT_SECONDS: Final = 15
WRITE_TIMEOUT_SECONDS: Final = 10
"""A broker with a memory alarm does not read from connections that publish."""


class ControlThread:
    """Drives the protocol, which no other thread touches. Its failures never stop the consumers.

    Attributes:
        connected_at: When the connection was opened; None without a connection. Seconds of the monotonic clock.
    """

    def __init__(self, protocol: WorkerProtocol, connection: kombu.Connection, observer: Observer) -> None:
        """`connection` states where to connect; each connect is made with a copy of it."""
        self._protocol = protocol
        self._template = connection
        self._observer = observer
        self._leaving = False  # no Event: its lock could be held when a signal handler sets it
        self._has_left = False
        self._closed = threading.Event()
        self._fault: str | None = None
        self.connected_at: float | None = None

    def start(self) -> None:
        """Report and receive from now on."""
        threading.Thread(target=self._run, name="taskqueue control", daemon=True).start()

    def leave(self) -> None:
        """Report from now on that the worker shuts down. For any thread, and for signal handlers."""
        self._leaving = True

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _run(self) -> None:
        """Reconnect after each loss of the connection, until closed."""
        backoff = Backoff()
        while not self._closed.is_set():
            started_at = time.monotonic()
            try:
                self._session()
            except Exception as error:  # noqa: BLE001 - no failure of the control channel may stop the consumers
                self._on_fault(error)
            self.connected_at = None
            self._wait(backoff.next_delay(time.monotonic() - started_at))

    def _session(self) -> None:
        """From one connect to the loss of that connection."""
        with self._connect() as connection:
            channel = connection.channel()
            channel.basic_consume(DIRECT_REPLY_TO, no_ack=True, callback=self._on_message)
            self._protocol.begin_channel()
            self.connected_at = time.monotonic()
            while not self._closed.is_set():
                self._advance()
                if self._protocol.is_report_due(time.monotonic()):
                    self._report(channel)
                self._receive(connection)

    def _connect(self) -> kombu.Connection:
        name = f"{self._protocol.identity.taskqueue} control"
        connection = self._template.clone(heartbeat=HEARTBEAT_SECONDS)
        connection.transport_options = {
            **self._template.transport_options,
            "client_properties": {"connection_name": name},
            "confirm_publish": False,
            "write_timeout": WRITE_TIMEOUT_SECONDS,
        }
        connection.connect()
        return connection

    def _receive(self, connection: kombu.Connection) -> None:
        """Handle what arrives until the runtime is to be asked again."""
        try:
            connection.drain_events(timeout=self._poll_seconds())
        except TimeoutError:
            self._fault = None  # what the broker refuses, it refuses at once
        connection.heartbeat_check(rate=2)

    def _on_message(self, message: Any) -> None:  # noqa: ANN401 - amqp has no types
        body = message.body
        self._protocol.receive(body if isinstance(body, bytes) else str(body).encode(), time.monotonic())

    def _report(self, channel: Any) -> None:  # noqa: ANN401 - amqp has no types
        message = amqp.Message(
            self._protocol.report(time.monotonic()),
            content_type=CONTENT_TYPE,
            delivery_mode=1,
            reply_to=DIRECT_REPLY_TO,
            type="report",
        )
        channel.basic_publish(message, exchange=EXCHANGE, routing_key=self._protocol.identity.taskqueue)
        self._observer.reported()

    def _wait(self, seconds: float) -> None:
        """Let drain leases expire without a connection, too."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0 and not self._closed.wait(min(rest, self._poll_seconds())):
            self._advance()

    def _advance(self) -> None:
        if self._leaving and not self._has_left:
            self._has_left = True
            self._protocol.begin_shutdown()
        self._protocol.advance(time.monotonic())

    def _poll_seconds(self) -> float:
        is_steady = self._protocol.state in {State.CONSUMING, State.DRAINED}
        return POLL_SECONDS if is_steady else DRAINING_POLL_SECONDS

    def _on_fault(self, error: Exception) -> None:
        reason = str(error) or repr(error)
        if reason != self._fault:
            self._fault = reason
            self._observer.disconnected(reason)
