"""The attempt of a task after which its message is rejected with requeue: its number, and what follows it. Pure.

The message would be first in its queue again, and only a quorum queue since RabbitMQ 4.3 would count the attempt. So it
returns as a copy with the number of the next attempt, and after the last one it is a dead letter
(docs/worker-contract.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from .environment import MOST_ATTEMPTS, RetrySettings

ATTEMPT: Final = "x-attempt"
BROKER_FAILURES: Final = "x-delivery-count"
REASON: Final = "worker_lost"
NAME_BYTES: Final = 255

NOT_COPIED: Final = frozenset({"cc", "bcc", "x-death", "x-acquired-count", BROKER_FAILURES})
"""CC and BCC would route the copy to further queues. The others describe the life of the original in the broker."""
NOT_COPIED_PREFIXES: Final = ("x-first-death-", "x-last-death-")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was received.

    Attributes:
        headers: Its headers. Publishers may have set any of them to anything.
        counts_failures: Whether the broker's count, if the message has one, is one of failed deliveries.
    """

    headers: Mapping[str, Any]
    queue: str
    exchange: str
    routing_key: str
    counts_failures: bool

    @property
    def attempt(self) -> int:
        """The number of the attempt that comes next, from 1."""
        failures = _number(self.headers.get(BROKER_FAILURES), otherwise=0) if self.counts_failures else 0
        return _number(self.headers.get(ATTEMPT), otherwise=1) + failures


@dataclass(frozen=True, slots=True)
class Copy:
    """How a message is published again."""

    exchange: str
    routing_key: str
    headers: Mapping[str, Any]
    is_dead_letter: bool


def next_attempt(delivery: Delivery, failed: int, settings: RetrySettings, now: datetime) -> Copy:
    """Return the copy that follows after the attempt with this number has failed."""
    at = now.isoformat(timespec="milliseconds")
    headers: dict[str, Any] = {
        **_copied(delivery.headers),
        "x-first-failure-at": _recorded(delivery.headers, "x-first-failure-at", at),
        "x-last-failure-at": at,
        "x-original-exchange": _recorded(delivery.headers, "x-original-exchange", delivery.exchange),
        "x-original-routing-key": _recorded(delivery.headers, "x-original-routing-key", delivery.routing_key),
    }
    if failed < settings.max_attempts:
        return Copy("", delivery.queue, headers | {ATTEMPT: failed + 1}, is_dead_letter=False)
    problem = {
        "x-failure-reason": REASON,
        "x-failure-class": "WorkerLostError",
        "x-failure-text": "the process of the task ended, or the message was rejected with requeue",
        "x-original-queue": delivery.queue,
        ATTEMPT: settings.max_attempts,
    }
    key = settings.dead_letter_key(delivery.queue)
    return Copy(settings.dead_letter_exchange, key, headers | problem, is_dead_letter=True)


def _copied(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in NOT_COPIED and not name.startswith(NOT_COPIED_PREFIXES)
    }


def _recorded(headers: Mapping[str, Any], name: str, otherwise: str) -> str:
    """Return what an earlier copy has recorded. No copy records a longer text: a publisher wrote that."""
    text = headers.get(name)
    return text if isinstance(text, str) and len(text.encode(errors="replace")) <= NAME_BYTES else otherwise


def _number(value: object, *, otherwise: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return otherwise
    return min(max(value, otherwise), MOST_ATTEMPTS)
