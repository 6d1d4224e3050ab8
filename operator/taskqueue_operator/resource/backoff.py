"""Delays between attempts."""

from collections.abc import Callable


class Backoff:
    """Exponential backoff with full jitter, so that many clients do not retry at the same moment."""

    def __init__(self, first_seconds: float, max_seconds: float, jitter: Callable[[], float]) -> None:
        """Create a backoff without failures.

        Args:
            first_seconds: The largest delay after the first failure; each further failure doubles it.
            max_seconds: The largest delay of all.
            jitter: Returns a number within [0, 1), such as `random.random`.
        """
        self._first = first_seconds
        self._max = max_seconds
        self._jitter = jitter
        self._failures = 0

    def next_delay(self, lasted_seconds: float = 0.0) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            lasted_seconds: How long the attempt lasted. One that lasted longer than the largest delay was a success
                and resets the backoff.
        """
        if lasted_seconds > self._max:
            self.reset()
        largest = min(self._max, self._first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        return largest * self._jitter()

    def reset(self) -> None:
        """Forget all failures, after a success."""
        self._failures = 0
