"""Exponential backoff."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts, which grow with each failure up to a maximum. The caller adds the jitter."""

    first_seconds: float
    longest_seconds: float
    factor: float = 2.0

    def seconds(self, failures: int) -> float:
        """Return the delay after this number of failures in a row, the first of which counts as 0."""
        # The exponent is limited only so that a float can hold the power.
        return min(self.longest_seconds, self.first_seconds * self.factor ** min(failures, 16))
