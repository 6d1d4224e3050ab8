"""When a task may begin, and when it expires. Pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from taskqueue_worker.bounds import LONGEST_DELAY_SECONDS, LONGEST_EXPIRATION_SECONDS

Seconds = float | timedelta

_ONE_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a task may begin, and when it expires.

    Attributes:
        delay_ms: How long the message waits on the broker before it enters its queue; 0 if it enters at once.
        expires_at: When the task expires; None if it does not.
    """

    delay_ms: int = 0
    expires_at: datetime | None = None

    @classmethod
    def of(
        cls,
        now: datetime,
        *,
        delay: Seconds | None = None,
        not_before: datetime | None = None,
        expires: Seconds | datetime | None = None,
    ) -> Self:
        """Make the schedule of a task that is published now.

        Args:
            now: The present time.
            delay: How long it waits. A time that is over means no delay.
            not_before: When it may begin, with a zone; instead of `delay`.
            expires: When, or how long after now, it expires.

        Raises:
            ValueError: A value is not valid, or the task would expire before it may begin.
        """
        if delay is not None and not_before is not None:
            raise ValueError("Either delay or not_before is possible, and not both.")
        begins_at = now if not_before is None else _with_zone(not_before, "not_before")
        if delay is not None:
            begins_at = now + _duration(delay, "delay", LONGEST_DELAY_SECONDS)
        if begins_at - now > timedelta(seconds=LONGEST_DELAY_SECONDS):
            raise ValueError(
                f"not_before is more than {LONGEST_DELAY_SECONDS} seconds away. Keep the task in an outbox until then."
            )
        expires_at = None if expires is None else _expiration(expires, now)
        if expires_at is not None and expires_at <= max(begins_at, now):
            raise ValueError("expires is not later than the time at which the task may begin.")
        return cls(max(0, math.ceil((begins_at - now) / _ONE_MS)), expires_at)

    def expiration(self, now: datetime) -> timedelta | None:
        """Return how long the message may wait in its queue; None without a limit."""
        return None if self.expires_at is None else max(_ONE_MS, self.expires_at - now)


def _expiration(value: Seconds | datetime, now: datetime) -> datetime:
    left = max(timedelta(), _with_zone(value, "expires") - now) if isinstance(value, datetime) else value
    return now + _duration(left, "expires", LONGEST_EXPIRATION_SECONDS)


def _duration(value: Seconds, name: str, longest: int) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not 0 <= seconds <= longest:  # false for NaN too
        raise ValueError(f"{name}={seconds} must be from 0 to {longest} seconds. Keep a task for longer in an outbox.")
    return timedelta(seconds=seconds)


def _with_zone(time: datetime, name: str) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{name} has no time zone. Use datetime.now(UTC), for example.")
    return time.astimezone(UTC)
