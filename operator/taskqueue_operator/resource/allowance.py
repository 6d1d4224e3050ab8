"""A rate that outside data may not exceed."""


class Allowance:
    """At most `at_once` at one moment, and `per_second` over time. Time is an argument, in seconds of any one clock."""

    __slots__ = ("_at", "_at_once", "_left", "_per_second")

    def __init__(self, *, per_second: float, at_once: float) -> None:
        self._per_second = per_second
        self._at_once = self._left = at_once
        self._at = 0.0

    def take(self, now: float, count: float = 1) -> bool:
        """Take so many if they are left; returns whether they were."""
        self._left = min(self._at_once, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True
