"""The control channel of a runtime with threads: a thread carries reports and commands over a connection of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from .backoff import Backoff
from .protocol import State
from .runtime import Observer
from .worker_protocol import WorkerProtocol

POLL_SECONDS: Final = 1.0
LAST_REPORT_TIMEOUT_SECONDS: Final = 2.0
DRAINING_POLL_SECONDS: Final = 0.1
"""How often the runtime is asked whether something has changed."""


class Session(Protocol):
    """A connection of an AMQP client that consumes direct reply-to. Each method has a timeout and may raise."""

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it does not read the connection, which it does to publishers in an alarm."""
        ...

    def publish(self, report: bytes) -> None:
        """Publish a report."""
        ...

    def receive(self, seconds: float) -> Sequence[bytes]:
        """Return the bodies that have arrived, or that arrive within this time."""
        ...

    def wake(self) -> None:
        """Let `receive` return, if the client can. For any thread, but not for signal handlers."""
        ...


class ControlThread:
    """Drives the protocol, which no other thread changes. Its failures never stop the consumers."""

    def __init__(
        self, protocol: WorkerProtocol, open_session: Callable[[], AbstractContextManager[Session]], observer: Observer
    ) -> None:
        """`open_session` connects, on this thread, with a timeout."""
        self._protocol = protocol
        self._open_session = open_session
        self._observer = observer
        self._leaving = False  # no Event: its lock could be held when a signal handler sets it
        self._has_left = False
        self._closed = threading.Event()
        self._has_ended = threading.Event()
        self._fault: str | None = None
        self._connected: Session | None = None

    def start(self) -> None:
        """Report and receive from now on."""
        threading.Thread(target=self._run, name="taskqueue control", daemon=True).start()

    def leave(self) -> None:
        """Report from now on that the worker shuts down. For any thread, and for signal handlers."""
        self._leaving = True

    @property
    def is_reached(self) -> bool:
        """Whether there is a connection, and the broker reads it. May be asked on any thread."""
        session = self._connected
        return session is not None and not session.is_blocked

    def close(self) -> None:
        """End the thread, after a last report of what has changed. For any thread, but not for signal handlers."""
        self._closed.set()
        if (session := self._connected) is not None:
            session.wake()

    def wait_for_last_report(self) -> None:
        """After `close`: wait for the last report, if there is a connection."""
        if self._connected is not None:
            self._has_ended.wait(LAST_REPORT_TIMEOUT_SECONDS)

    def _run(self) -> None:
        """Reconnect after each loss of the connection, until closed."""
        backoff = Backoff()
        while not self._closed.is_set():
            started_at = time.monotonic()
            with self._contained():
                self._session()
            self._connected = None
            self._wait(backoff.next_delay(time.monotonic() - started_at))
        self._has_ended.set()

    def _session(self) -> None:
        """From one connect to the loss of that connection."""
        with self._open_session() as session:
            self._protocol.begin_channel()
            self._connected = session
            is_closed = False
            while not is_closed:
                is_closed = self._closed.is_set()
                self._advance()
                if self._protocol.is_report_due(time.monotonic()):
                    session.publish(self._protocol.report(time.monotonic()))
                    self._observer.reported()
                if not is_closed:
                    self._receive(session)

    def _receive(self, session: Session) -> None:
        """Handle what arrives until the runtime is to be asked again."""
        bodies = session.receive(self._poll_seconds())
        if not bodies:
            self._fault = None  # what the broker refuses, it refuses at once
        for body in bodies:
            self._protocol.receive(body, time.monotonic())

    def _wait(self, seconds: float) -> None:
        """Let drain leases expire without a connection, too."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0 and not self._closed.wait(min(rest, DRAINING_POLL_SECONDS)):
            with self._contained():
                self._advance()

    def _advance(self) -> None:
        if self._leaving and not self._has_left:
            self._has_left = True
            self._protocol.begin_shutdown()
        self._protocol.advance(time.monotonic())

    def _poll_seconds(self) -> float:
        # Not `state`, which another thread may have changed since the report.
        is_steady = self._protocol.reported_state in {State.CONSUMING, State.DRAINED}
        return POLL_SECONDS if is_steady else DRAINING_POLL_SECONDS

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """Tell the observer of each other fault. None ends the thread."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - no failure of the control channel may stop the consumers
            reason = str(error) or repr(error)
            if reason != self._fault:
                self._fault = reason
                self._observer.disconnected(reason)
