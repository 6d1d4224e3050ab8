"""How long to wait before trying again."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential backoff with full jitter: a herd of workers does not come back to the broker in step."""

    def __init__(
        self,
        first_seconds: float = 0.5,
        cap_seconds: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first = first_seconds
        self._cap = cap_seconds
        self._jitter = jitter
        self._failures = 0

    def after(self, stood_seconds: float) -> float:
        """Seconds to wait after an attempt that stood that long; one that stood longer than the cap was a success."""
        if stood_seconds > self._cap:
            self._failures = 0
        span = min(self._cap, self._first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        return span * self._jitter()
