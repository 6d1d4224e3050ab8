"""Delays between attempts."""

import random
from collections.abc import Callable
from typing import Final

FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 30.0


class Backoff:
    """Exponential backoff with full jitter, so that many workers do not reconnect at the same moment."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._failures = 0

    def next_delay(self, lasted_seconds: float) -> float:
        """Return the seconds to wait after an attempt.

        Args:
            lasted_seconds: How long the attempt lasted. One that lasted longer than the largest delay was a success and
                resets the backoff.
        """
        if lasted_seconds > LONGEST_BACKOFF_SECONDS:
            self._failures = 0
        span = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        return span * self._jitter()
