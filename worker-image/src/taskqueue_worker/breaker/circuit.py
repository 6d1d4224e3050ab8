"""When a breaker lets calls through: pure. Times are seconds of a monotonic clock."""

from collections import deque
from enum import StrEnum


class State(StrEnum):
    """What a breaker does with a call."""

    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """Calls are refused."""
    HALF_OPEN = "half open"
    """One call goes through, to try."""


class Circuit:
    """Opens after failures in a row, then lets one call through from time to time, and closes when that one succeeds.

    What a call finds counts only if the breaker has neither opened nor closed since it began.
    """

    def __init__(self, *, failures: int, within: float, open_seconds: float) -> None:
        """Open after this number of failures in a row within this number of seconds."""
        self._within = within
        self._open_seconds = open_seconds
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._changes = 0
        self._next_trial_at: float | None = None

    def admit(self, now: float) -> int | None:
        """Begin a call and return its permit; None if it is refused."""
        if self.refused_seconds(now):
            return None
        if self._next_trial_at is not None:
            # A trial that never ends, such as a thread that hangs, must not be the last one.
            self._next_trial_at = now + self._open_seconds
        return self._changes

    def succeed(self, permit: int) -> bool:
        """A call has reached the dependency. Return whether this closes the breaker."""
        if permit != self._changes:
            return False
        self._failed_at.clear()
        if self._next_trial_at is None:
            return False
        self._change(None)
        return True

    def fail(self, permit: int, now: float) -> bool:
        """A call has not reached the dependency. Return whether this opens the breaker."""
        if permit != self._changes:
            return False
        if self._next_trial_at is not None:
            self._next_trial_at = now + self._open_seconds
            return False
        self._failed_at.append(now)
        if len(self._failed_at) < (self._failed_at.maxlen or 0) or now - self._failed_at[0] > self._within:
            return False
        self._change(now + self._open_seconds)
        return True

    def end_without_result(self, permit: int, now: float) -> None:
        """A call has ended and says nothing about the dependency: the next call may be the trial."""
        if permit == self._changes and self._next_trial_at is not None:
            self._next_trial_at = min(self._next_trial_at, now)

    def refused_seconds(self, now: float) -> float:
        """Return for how long each call is refused, unless a trial succeeds before; 0 if the next one goes through."""
        return 0.0 if self._next_trial_at is None else max(0.0, self._next_trial_at - now)

    def state(self, now: float) -> State:
        """Return the present state."""
        if self._next_trial_at is None:
            return State.CLOSED
        return State.OPEN if now < self._next_trial_at else State.HALF_OPEN

    def is_unavailable(self, now: float) -> bool:
        """Whether the dependency is known to be away: after a trial was due for as long again, that is not known."""
        return self._next_trial_at is not None and now < self._next_trial_at + self._open_seconds

    def _change(self, next_trial_at: float | None) -> None:
        self._changes += 1
        self._next_trial_at = next_trial_at
        self._failed_at.clear()
