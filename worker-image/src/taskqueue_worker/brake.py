"""Slows a worker down whose tasks fail one after the other, for example because a service that they need is away."""

import random
from collections.abc import Callable
from typing import Final

FAILURES: Final = 10
"""Consecutive failures that no success interrupts before starts are delayed."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Longest pause between two starts of a worker with a prefetch of 1. With a larger prefetch the pauses are shorter: all
prefetched messages must start within the margin of the consumer timeout, which is 60 s."""


class Brake:
    """Exponential backoff with full jitter between the starts of tasks. Times are seconds of a monotonic clock.

    Attributes:
        failures: Failures since the last success.
    """

    def __init__(self, prefetch: int, jitter: Callable[[], float] = random.random) -> None:
        """`prefetch` is the largest number of messages that wait in this worker."""
        self._longest = LONGEST_PAUSE_SECONDS / prefetch
        self._jitter = jitter
        self._free_at = 0.0
        self.failures = 0

    @property
    def is_engaged(self) -> bool:
        """Whether starts are delayed."""
        return self.failures >= FAILURES

    def remaining_seconds(self, now: float) -> float:
        """Return how long the next start has to wait; 0 if it may begin."""
        return max(0.0, self._free_at - now) if self.is_engaged else 0.0

    def start(self, now: float) -> None:
        """A task starts."""
        self._pause(now)

    def succeed(self) -> bool:
        """A task was done. Return whether this releases the brake."""
        was_engaged, self.failures = self.is_engaged, 0
        return was_engaged

    def fail(self, now: float) -> bool:
        """A task failed. Return whether this engages the brake."""
        self.failures += 1
        self._pause(now)
        return self.failures == FAILURES

    def _pause(self, now: float) -> None:
        if self.is_engaged:
            doublings = min(self.failures - FAILURES, 16)
            span = min(self._longest, FIRST_PAUSE_SECONDS * 2.0**doublings)
            self._free_at = max(self._free_at, now + span * self._jitter())
