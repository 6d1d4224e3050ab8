"""A token bucket, as the time from which on the next token is free. Pure.

A bucket of n tokens to which one is added every t seconds is the same as this rule: each task moves a mark t seconds
ahead, from now on if it lies in the past, and starts when the mark before it is at most (n - 1) t ahead. So one number
is the whole state, and a task that has to wait knows for how long.
"""

from dataclasses import dataclass
from typing import Final

HOLD_SECONDS: Final = 5.0
"""How long a task waits for its token, and holds its slot. One that would wait longer returns to its queue."""
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate.

    Attributes:
        seconds: Time in which one token is added.
        burst: Most tokens in the bucket.
    """

    seconds: float
    burst: int = 1

    @classmethod
    def of(cls, rate: str, burst: int = 1) -> "Bucket":
        """Read a rate such as `10/s`.

        Raises:
            ValueError: It is none; the text says how one is written.
        """
        number, _, unit = rate.partition("/")
        if not (number.isascii() and number.isdigit() and 1 <= len(number) <= 6 and int(number) and unit in _SECONDS):  # noqa: PLR2004 - digits
            raise ValueError(
                f'rate={rate!r} must be a number of tasks and a unit: "10/s", "300/m", "1000/h" or "5000/d".'
            )
        if not 1 <= burst <= 1_000_000:  # noqa: PLR2004 - most tasks of a rate
            raise ValueError(f"burst={burst!r} must be from 1 to 1000000 tasks.")
        return cls(_SECONDS[unit] / int(number), burst)

    def wait_seconds(self, mark: float, now: float) -> float:
        """Return how long the next task has to wait."""
        return max(0.0, mark - (self.burst - 1) * self.seconds - now)

    def next_mark(self, mark: float, now: float) -> float:
        """Return the mark after a task has taken a token."""
        return max(mark, now) + self.seconds
