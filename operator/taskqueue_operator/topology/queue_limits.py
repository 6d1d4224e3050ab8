"""What a queue needs whose spec limits its messages: their number, bytes, time and deliveries.

RabbitMQ dead-letters what is beyond a limit, or refuses it. An argument could never be changed. Where an argument sets
the same limit, RabbitMQ applies the lower one.
"""

from typing import Any, Final

from taskqueue_operator.resource.queue import Overflow
from taskqueue_operator.resource.queue import Queue as SpecQueue
from taskqueue_operator.resource.taskqueue import TaskQueue

from .dead_letter_limits import MAX_LENGTH, OVERFLOW, TTL
from .delayed_retries import DELIVERY_LIMIT
from .objects import CLASSIC, Queue
from .queue_policy import Requirement

PURPOSE: Final = "limits"
MAX_LENGTH_BYTES: Final = "max-length-bytes"
KEYS: Final = frozenset({MAX_LENGTH, MAX_LENGTH_BYTES, TTL, DELIVERY_LIMIT})
_OVERFLOWS: Final = {Overflow.REJECT_PUBLISH: "reject-publish", Overflow.DROP_HEAD: "drop-head"}


def limits_requirement(taskqueue: TaskQueue, existing: Queue | None) -> Requirement | None:
    """Return what limits a queue of a TaskQueue; None without limits, or if the queue does not exist.

    During a migration, the existing queue is of another type than the spec says.
    """
    if existing is None or not (settings := _settings(taskqueue.queue, existing.type)):
        return None
    return Requirement(
        PURPOSE,
        settings,
        f'spec.queue limits queue "{existing.name}"',
        "remove maxLength, maxLengthBytes, messageTtlSeconds and deliveryLimit from spec.queue",
    )


def _settings(queue: SpecQueue, queue_type: str) -> dict[str, Any]:
    milliseconds = None if queue.message_ttl_seconds is None else queue.message_ttl_seconds * 1000
    settings: dict[str, Any] = {
        MAX_LENGTH: queue.max_length,
        MAX_LENGTH_BYTES: queue.max_length_bytes,
        TTL: milliseconds,
    }
    if queue_type != CLASSIC:
        # RabbitMQ applies no policy with this setting to a classic queue.
        settings[DELIVERY_LIMIT] = queue.delivery_limit
    elif queue.has_length_limit:  # a quorum queue has it as an argument
        settings[OVERFLOW] = _OVERFLOWS[queue.overflow or Overflow.REJECT_PUBLISH]
    return {key: value for key, value in settings.items() if value is not None}
