"""A Celery worker as the protocol sees it. Two threads meet here: that of the control channel, and Celery's own."""

import socket
import time
from typing import Any

from taskqueue_drain.activity import Activity
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
    """

    def __init__(self, consumer: Any, activity: Activity) -> None:  # noqa: ANN401 - Celery has no types
        self.consumer = consumer
        self.wish = (0, True)
        self.quiet_since = -1
        self.is_connected = False
        self._activity = activity
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
        """See `Runtime`."""
        now, activity = time.monotonic(), self._activity
        oldest = activity.oldest_seconds(now)
        return Figures(
            # The pool threads has a queue of its own, of tasks that can still be given back.
            in_flight=max(0, activity.running - unstarted.waiting_for_thread(self.consumer)),
            prefetched=unstarted.count(self.consumer),
            idle_seconds=round(activity.idle_seconds(now), 3),
            oldest_seconds=None if oldest is None else round(oldest, 3),
            completed=activity.completed,
            failed=activity.failed,
            busy_seconds=round(activity.busy_seconds, 3),
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
        try:
            self._sends.send(b"\0")
        except BlockingIOError:
            return  # it has been woken often enough
