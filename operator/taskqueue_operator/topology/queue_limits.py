"""What a queue needs whose spec limits its messages: their number, bytes, time and deliveries.

RabbitMQ dead-letters what is beyond a limit, or refuses it. An argument could never be changed. Where an argument sets
the same limit, RabbitMQ applies the lower one.
"""

from typing import Any, Final

from taskqueue_operator.resource.broker import Overflow, Queue, QueueType
from taskqueue_operator.resource.taskqueue import TaskQueue

from .dead_letter_limits import MAX_LENGTH, OVERFLOW, TTL
from .delayed_retries import DELIVERY_LIMIT
from .queue_policy import Requirement

PURPOSE: Final = "limits"
MAX_LENGTH_BYTES: Final = "max-length-bytes"
KEYS: Final = frozenset({MAX_LENGTH, MAX_LENGTH_BYTES, TTL, DELIVERY_LIMIT})
_OVERFLOWS: Final = {Overflow.REJECT_PUBLISH: "reject-publish", Overflow.DROP_HEAD: "drop-head"}


def limits_requirement(queue: str, taskqueue: TaskQueue) -> Requirement | None:
    """Return what limits a queue of a TaskQueue; None without limits."""
    if not taskqueue.queue.needs_policy:
        return None
    return Requirement(
        PURPOSE,
        _settings(taskqueue.queue),
        f'spec.queue limits queue "{queue}"',
        "remove maxLength, maxLengthBytes, messageTtlSeconds and deliveryLimit from spec.queue",
    )


def _settings(queue: Queue) -> dict[str, Any]:
    milliseconds = None if queue.message_ttl_seconds is None else queue.message_ttl_seconds * 1000
    settings: dict[str, Any] = {
        MAX_LENGTH: queue.max_length,
        MAX_LENGTH_BYTES: queue.max_length_bytes,
        TTL: milliseconds,
        DELIVERY_LIMIT: queue.delivery_limit,
    }
    if queue.has_length_limit and queue.type is QueueType.CLASSIC:  # a Quorum queue has it as an argument
        settings[OVERFLOW] = _OVERFLOWS[queue.overflow or Overflow.REJECT_PUBLISH]
    return {key: value for key, value in settings.items() if value is not None}
