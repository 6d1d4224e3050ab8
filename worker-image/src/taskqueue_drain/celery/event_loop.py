"""How the adapter runs on Celery's thread: on kombu's event loop, or between the reads of a blocking one."""

import socket
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from celery.worker.loops import synloop

from . import heartbeat

WAKE_BYTES: Final = 4096
READ_SECONDS: Final = 0.1
"""How long the blocking loop may read before it looks at what the control thread wishes."""


class EventLoop(Protocol):
    """Where Celery's thread waits."""

    def wake(self) -> None:
        """Let Celery's thread call `on_wake` soon. For any thread, and for signal handlers."""
        ...

    def register(self, hub: Any) -> None:  # noqa: ANN401 - kombu has no types
        """Celery's event loop is about to run."""
        ...


class HubLoop:
    """Kombu's event loop."""

    def __init__(self, on_wake: Callable[[], None], on_beat: Callable[[], None]) -> None:
        self._on_wake = on_wake
        self._on_beat = on_beat
        self._beats: Any = None
        self._wakes, self._sends = socket.socketpair()
        self._wakes.setblocking(False)
        self._sends.setblocking(False)

    def wake(self) -> None:
        """See `EventLoop`."""
        try:
            self._sends.send(b"\0")
        except BlockingIOError:
            return  # it has been woken often enough

    def register(self, hub: Any) -> None:  # noqa: ANN401 - kombu has no types
        """See `EventLoop`."""
        hub.add_reader(self._wakes.fileno(), self._was_woken)
        if self._beats is not None:  # of the connection before
            hub.timer.cancel(self._beats)
        self._beats = hub.timer.call_repeatedly(heartbeat.BEAT_SECONDS, self._on_beat)

    def _was_woken(self) -> None:
        try:
            while self._wakes.recv(WAKE_BYTES):
                pass
        except BlockingIOError:
            self._on_wake()


class BlockingLoop:
    """Celery's loop for the pool gevent, which reads for up to two seconds: it then reads more often."""

    def __init__(self, consumer: Any, on_wake: Callable[[], None], on_beat: Callable[[], None]) -> None:  # noqa: ANN401
        self._on_wake = on_wake
        self._on_beat = on_beat
        self._beat_at = 0.0
        consumer.loop = self._run

    def wake(self) -> None:
        """See `EventLoop`: the next read begins soon."""

    def register(self, hub: Any) -> None:  # noqa: ANN401 - kombu has no types
        """See `EventLoop`: there is no hub."""

    def before_read(self) -> None:
        """Do on Celery's greenlet what is due."""
        self._on_wake()
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + heartbeat.BEAT_SECONDS
            self._on_beat()

    def _run(self, consumer: Any, connection: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401 - see above
        synloop(consumer, _ShortReads(connection, self), *rest, **options)


class _ShortReads:
    """A connection of kombu whose reads are short."""

    def __init__(self, connection: Any, loop: BlockingLoop) -> None:  # noqa: ANN401 - kombu has no types
        self._connection = connection
        self._loop = loop

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - see above
        return getattr(self._connection, name)

    def drain_events(self, timeout: float) -> None:
        """Read for a short time."""
        self._loop.before_read()
        self._connection.drain_events(timeout=min(timeout, READ_SECONDS))
