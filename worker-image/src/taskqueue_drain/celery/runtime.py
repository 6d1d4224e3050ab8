"""A Celery worker as the protocol sees it. Two threads meet here: that of the control channel, and Celery's own."""

import socket
import time
from typing import Any

from celery.worker import state

from taskqueue_drain.protocol import Figures

from . import unstarted

WAKE_BYTES = 4096


class CeleryRuntime:
    """What the control thread asks for (`taskqueue_drain.Runtime`), and what Celery's thread has done of it.

    Attributes:
        consumer: Celery's consumer.
        wish: How often the control thread has asked, and whether the worker may consume.
        quiet_since: The number of the wish for which it is proved that no message arrives; -1 if it is for none.
        is_connected: Whether Celery has a connection to the broker.
        settling: Requests that have ended and whose messages are about to be settled.
    """

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        self.consumer = consumer
        self.wish = (0, True)
        self.quiet_since = -1
        self.is_connected = False
        self.settling: set[Any] = set()
        self._idle_since = time.monotonic()
        self._wakes, self._sends = socket.socketpair()
        self._wakes.setblocking(False)
        self._sends.setblocking(False)

    # On the control thread.

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self._ask(may_consume=False)

    def consume(self) -> None:
        """See `Runtime`."""
        self._ask(may_consume=True)

    @property
    def is_quiet(self) -> bool:
        """See `Runtime`."""
        number, may_consume = self.wish
        return not may_consume and self.quiet_since == number

    @property
    def is_consuming(self) -> bool:
        """See `Runtime`."""
        tasks = self.consumer.task_consumer
        return self.is_connected and tasks is not None and bool(tasks._active_tags)  # noqa: SLF001 - no public name

    def figures(self) -> Figures:
        """See `Runtime`. Celery's main process does not learn which tasks fail."""
        active = _copy(state.active_requests)
        in_flight = len(_copy(state.reserved_requests) | active | _copy(self.settling))
        in_flight = max(0, in_flight - unstarted.waiting_for_slot(self.consumer))
        started_at = [request.time_start for request in active if request.time_start]
        now = time.monotonic()
        if in_flight:
            self._idle_since = now
        return Figures(
            in_flight=in_flight,
            prefetched=unstarted.count(self.consumer),
            idle_seconds=round(now - self._idle_since, 3),
            oldest_seconds=round(max(0.0, time.time() - min(started_at)), 3) if started_at else None,
            completed=max(0, state.all_total_count[0] - len(active)),
            failed=0,
            busy_seconds=0,
        )

    # On Celery's thread.

    def fileno(self) -> int:
        """Return what is readable once the control thread has asked for something."""
        return self._wakes.fileno()

    def was_woken(self) -> None:
        """Read what made `fileno` readable."""
        try:
            while self._wakes.recv(WAKE_BYTES):
                pass
        except BlockingIOError:
            return

    def leave(self) -> None:
        """Ask for the end of consuming, from a signal handler."""
        self._ask(may_consume=False)

    def _ask(self, *, may_consume: bool) -> None:
        self.wish = (self.wish[0] + 1, may_consume)
        self.wake()

    # On any thread.

    def wake(self) -> None:
        """Make `fileno` readable."""
        try:
            self._sends.send(b"\0")
        except BlockingIOError:
            return  # it has been woken often enough


def _copy(requests: Any) -> set[Any]:  # noqa: ANN401 - Celery has no types
    """Copy a set that Celery's thread changes."""
    while True:
        try:
            return set(requests)
        except RuntimeError:  # it changed meanwhile
            continue
