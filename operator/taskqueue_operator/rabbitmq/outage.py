"""How long a server has not answered, and how long the next attempt waits for that reason."""

from typing import Final

from taskqueue_operator.resource.faults import BrokerFault

from .clock import loop_time

SHARE: Final = 0.1
"""Pauses grow to this share of the outage: it is noticed with this delay, relative to its length, that it has ended."""
SHORTEST_SECONDS: Final = 4.0
"""A shorter pause is left out."""
LONGEST_SECONDS: Final = 30.0


class Outage:
    """From the first failure to the next answer. A server that is away for long is asked ever less often."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._retry_at = 0.0
        self._fault: BrokerFault | None = None

    def check(self) -> None:
        """Allow an attempt.

        Raises:
            BrokerFault: The fault of the last attempt, which was a short time ago.
        """
        if self._fault is not None and loop_time() < self._retry_at:
            raise self._fault.with_traceback(None)  # otherwise it grows with each raise

    def failed(self, fault: BrokerFault) -> float:
        """Record a failed attempt, and return the pause before the next one, in seconds."""
        now = loop_time()
        self._since = now if self._since is None else self._since
        pause = min(SHARE * (now - self._since), LONGEST_SECONDS)
        pause = pause if pause > SHORTEST_SECONDS else 0.0
        self._fault, self._retry_at = fault, now + pause
        return pause

    def ended(self) -> None:
        """Record an answer."""
        self._since = self._fault = None
