"""When a failed task is tried again: exponential backoff with full jitter, or when the broker does it. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from .bounds import LONGEST_DELAY_SECONDS
from .handlers.retry_rule import RetryRule

_DOUBLINGS: Final = LONGEST_DELAY_SECONDS.bit_length()
"""More doublings of a second exceed every delay."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The attempts of a task whose handler fails, and the delays between them."""

    max_attempts: int
    initial_seconds: float
    """Longest delay after the first attempt; it doubles with each further attempt."""
    max_seconds: float
    by_broker: bool = False
    """Whether the broker delays what is rejected (`Linear`), by a policy that has its own seconds."""

    def under(self, rule: RetryRule) -> "RetryPolicy":
        """Return this policy with what a rule states. A broker that delays has its own attempts and seconds."""
        attempts = self.max_attempts if rule.attempts is None else rule.attempts
        return replace(
            self,
            max_attempts=min(attempts, self.max_attempts) if self.by_broker else attempts,
            initial_seconds=self.initial_seconds if rule.initial is None else rule.initial,
            max_seconds=self.max_seconds if rule.max is None else rule.max,
        )

    def is_last(self, attempt: int) -> bool:
        """Whether no attempt follows the one with this number, which counts from 1."""
        return attempt >= self.max_attempts

    def delay_ms(self, attempt: int, jitter: float) -> int:
        """Return the delay after a failed attempt, in milliseconds.

        Args:
            attempt: Number of the failed attempt, from 1.
            jitter: From 0 to 1. With random values, tasks that failed together are not tried again together.
        """
        longest = min(self.max_seconds, self.initial_seconds * (1 << min(attempt - 1, _DOUBLINGS)))
        return max(1, round(longest * 1000 * jitter))
