"""The attempt of a task after which its message is rejected with requeue: its number, and what follows it. Pure.

The message would be first in its queue again, and only a quorum queue since RabbitMQ 4.3 would count the attempt. So it
returns as a copy with the number of the next attempt, and after the last one it is a dead letter
(docs/worker-contract.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from . import copy_headers
from .environment import RetrySettings

LOST_WORKER: Final = {
    copy_headers.REASON: "worker_lost",
    copy_headers.ERROR_CLASS: "WorkerLostError",
    copy_headers.ERROR_TEXT: "the process of the task ended, or the message was rejected with requeue",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was received.

    Attributes:
        headers: Its headers. Publishers may have set any of them to anything.
    """

    headers: Mapping[str, Any]
    queue: str
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Copy:
    """How a message is published again."""

    exchange: str
    routing_key: str
    headers: Mapping[str, Any]
    is_dead_letter: bool


def attempt(headers: Mapping[str, Any], *, counts_failures: bool) -> int:
    """Return the number of the attempt that comes next, from 1.

    Args:
        headers: Those of the message.
        counts_failures: Whether the broker's count, if the message has one, is one of failed deliveries.
    """
    failures = copy_headers.broker_failures(headers) if counts_failures else 0
    return copy_headers.attempt(headers) + failures


def next_attempt(delivery: Delivery, failed: int, settings: RetrySettings, now: datetime) -> Copy:
    """Return the copy that follows after the attempt with this number has failed."""
    at = now.isoformat(timespec="milliseconds")
    headers: dict[str, Any] = {
        **copy_headers.copied(delivery.headers),
        **copy_headers.first_failure(delivery.headers, at),
        copy_headers.LAST_FAILURE: at,
        **copy_headers.origin(delivery.headers, delivery.exchange, delivery.routing_key),
    }
    if failed < settings.max_attempts:
        return Copy("", delivery.queue, headers | {copy_headers.ATTEMPT: failed + 1}, is_dead_letter=False)
    problem = {
        **LOST_WORKER,
        copy_headers.QUEUE: delivery.queue,
        copy_headers.ATTEMPT: settings.max_attempts,
    }
    target = settings.dead_letter_target
    return Copy(target.exchange, target.routing_key_of(delivery.queue), headers | problem, is_dead_letter=True)
