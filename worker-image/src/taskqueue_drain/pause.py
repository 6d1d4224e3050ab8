"""A sleep for loops that look from time to time whether a signal came."""

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

SHORT_SECONDS: Final = 0.01


class Pause:
    """Takes the place of `time.sleep`, which goes on after a signal handler."""

    def __init__(self) -> None:
        self._ends: SimpleQueue[None] = SimpleQueue()  # a signal handler may put into it
        self._has_ended = False

    def __call__(self, seconds: float) -> None:
        """Sleep until the time has passed, or until `end`."""
        with suppress(Empty):
            self._ends.get(timeout=SHORT_SECONDS if self._has_ended else seconds)

    def end(self) -> None:
        """Sleep for a moment only from now on: the loop soon sees the signal. For signal handlers."""
        self._has_ended = True
        self._ends.put(None)
