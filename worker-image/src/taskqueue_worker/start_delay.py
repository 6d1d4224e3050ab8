"""Delays the start of tasks: after failures in a row, and while every handler would refuse its task."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from .bounds import HELD_REQUEUE_SECONDS
from .brake import Brake
from .run_outcome import Status

_log = structlog.get_logger("worker")

_SAYS_NOTHING: Final = frozenset({Status.DUPLICATE, Status.INVALID_PAYLOAD, Status.EXPIRED, Status.REJECTED})
"""Ends that are due to the message: they do not tell whether what the handlers need is available."""


class StartDelay:
    """How long the next start of a task is delayed. It is tried again when the delay is over."""

    def __init__(
        self,
        brake: Brake,
        refused_seconds: Callable[[], float],
        longest_wait_seconds: Callable[[], float],
        start: Callable[[], None],
    ) -> None:
        """Begin without a delay.

        Args:
            brake: Delays starts after failures.
            refused_seconds: For how long every handler refuses its tasks; 0 if one of them does not.
            longest_wait_seconds: How long the message that waits longest for a slot has waited.
            start: Starts what may start.
        """
        self._brake = brake
        self._refused_seconds = refused_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def is_over(self) -> bool:
        """Return whether a task may start now."""
        seconds = max(self._brake.remaining_seconds(self._loop.time()), self._refusal_seconds())
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._start) if seconds else None
        return not seconds

    def begin(self, now: float) -> None:
        """A task starts, at this time of the loop."""
        self._brake.start(now)

    def end(self, status: Status) -> None:
        """A task ended."""
        done = None if status in _SAYS_NOTHING else status.is_done
        if done and self._brake.succeed():
            _log.info("brake released")
        elif done is False and self._brake.fail(self._loop.time()):
            _log.warning("brake engaged", consecutive_failures=self._brake.failures)

    def _refusal_seconds(self) -> float:
        """Return for how long no message starts, because every handler would refuse it."""
        refused = self._refused_seconds()
        return min(refused, max(0.0, HELD_REQUEUE_SECONDS - self._longest_wait_seconds())) if refused else 0.0
