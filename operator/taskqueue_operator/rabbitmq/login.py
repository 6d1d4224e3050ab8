"""Limits logins with credentials that were refused: a broker logs each of them, and may lock the user."""

import random
from typing import Final

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault

from .clock import loop_time

AMQP: Final = "amqp"
MANAGEMENT: Final = "management"
BACKOFF: Final = Backoff(first_seconds=10.0, longest_seconds=60.0)
ATTEMPT_SECONDS: Final = 5.0
"""One attempt has this long before another one may be made."""


class Login:
    """One username and password of an endpoint, on all its connections. A changed Secret makes another one.

    After a refusal, one connection tries again after a pause; until then the others have the same fault. A side that
    accepts the credentials, `AMQP` or `MANAGEMENT`, is not affected by a refusal of the other one.
    """

    def __init__(self) -> None:
        self._refusal: BrokerFault | None = None
        self._refused_by = ""
        self._refusals = 0
        self._retry_at = 0.0
        self._accepted_by: set[str] = set()

    def check(self, side: str) -> None:
        """Allow a login on one side; the caller records whether it was refused or accepted.

        Raises:
            BrokerFault: The credentials were refused a short time ago.
        """
        if self._refusal is None or side in self._accepted_by:
            return
        if loop_time() < self._retry_at:
            raise self._refusal.with_traceback(None)  # otherwise it grows with each raise
        self._retry_at = loop_time() + ATTEMPT_SECONDS

    def refused(self, side: str, refusal: BrokerFault) -> None:
        """Record that one side refuses the credentials."""
        self._accepted_by.discard(side)
        # Connections that were opened at the same time are refused together: that is one refusal.
        if self._refusal is None or loop_time() >= self._retry_at - ATTEMPT_SECONDS:
            pause = BACKOFF.seconds(self._refusals) * random.uniform(0.5, 1)  # noqa: S311  jitter
            self._retry_at = loop_time() + pause
            self._refusals += 1
        self._refusal, self._refused_by = refusal, side

    def accepted(self, side: str) -> None:
        """Record that one side accepts the credentials."""
        self._accepted_by.add(side)
        if side == self._refused_by:
            self._refusal, self._refusals, self._refused_by = None, 0, ""
