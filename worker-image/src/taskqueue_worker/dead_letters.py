"""Copies of messages: a dead letter with what went wrong, and a message that returns to its queue. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pamqp.encode
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from .bounds import HEADERS_BYTES, NAME_BYTES, TEXT_CHARACTERS

REASON_HEADER: Final = "x-failure-reason"
CLASS_HEADER: Final = "x-failure-class"
TEXT_HEADER: Final = "x-failure-text"
FIRST_FAILURE_HEADER: Final = "x-first-failure-at"
LAST_FAILURE_HEADER: Final = "x-last-failure-at"
EXCHANGE_HEADER: Final = "x-original-exchange"
ROUTING_KEY_HEADER: Final = "x-original-routing-key"
QUEUE_HEADER: Final = "x-original-queue"
DROPPED_HEADER: Final = "x-dropped-headers"
DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"

_NOT_COPIED: Final = frozenset({"cc", "bcc", "x-death", "x-delivery-count", "x-acquired-count", "x-suspect"})
"""CC and BCC would route the copy to further queues. The others describe the life of the original in the broker."""
_NOT_COPIED_PREFIXES: Final = ("x-first-death-", "x-last-death-")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a task."""

    reason: str
    """`failed`, `timeout`, `unknown_type`, `invalid_payload`, or `worker_lost`."""
    error_class: str
    error_text: str


def dead_letter(message: AbstractIncomingMessage, queue: str, attempt: int, problem: Problem, now: datetime) -> Message:
    """Return the dead letter of a message: the same message, with headers that say what went wrong."""
    at = now.isoformat(timespec="milliseconds")
    return _copy(
        message,
        {
            REASON_HEADER: problem.reason,
            CLASS_HEADER: one_line(problem.error_class),
            TEXT_HEADER: one_line(problem.error_text),
            "x-attempt": attempt,
            FIRST_FAILURE_HEADER: _recorded(message.headers, FIRST_FAILURE_HEADER, at),
            LAST_FAILURE_HEADER: at,
            QUEUE_HEADER: queue,
            **_origin(message),
        },
        expires=False,
    )


def returning(message: AbstractIncomingMessage, attempt_headers: Mapping[str, object], now: datetime) -> Message:
    """Return the copy of a message that goes to its queue again, with the headers of its next attempt."""
    at = _recorded(message.headers, FIRST_FAILURE_HEADER, now.isoformat(timespec="milliseconds"))
    return _copy(message, {**attempt_headers, FIRST_FAILURE_HEADER: at, **_origin(message)}, expires=True)


def original_routing_key(headers: Mapping[str, Any], routing_key: str | None) -> str:
    """Return the routing key with which the task was published, from the headers and the routing key of its message."""
    return _recorded(headers, ROUTING_KEY_HEADER, routing_key or "")


def one_line(text: str) -> str:
    """Return the text without line breaks and repeated blanks, cut to `TEXT_CHARACTERS`, and valid Unicode."""
    words = " ".join(text[: 4 * TEXT_CHARACTERS].split())[:TEXT_CHARACTERS]
    return words.encode(errors="backslashreplace").decode()


def _origin(message: AbstractIncomingMessage) -> dict[str, str]:
    return {
        EXCHANGE_HEADER: _recorded(message.headers, EXCHANGE_HEADER, message.exchange or ""),
        ROUTING_KEY_HEADER: original_routing_key(message.headers, message.routing_key),
    }


def _recorded(headers: Mapping[str, Any], header: str, otherwise: str) -> str:
    """Return what an earlier copy has recorded in a header. No copy records a longer text: a publisher wrote that."""
    text = headers.get(header)
    return text if isinstance(text, str) and len(text.encode()) <= NAME_BYTES else otherwise


def _copy(message: AbstractIncomingMessage, ours: dict[str, Any], *, expires: bool) -> Message:
    """Copy a message, without what the broker compares with the connection: the user, and a reply to this channel."""
    theirs = {
        name: value
        for name, value in message.headers.items()
        if name not in ours and name.lower() not in _NOT_COPIED and not name.startswith(_NOT_COPIED_PREFIXES)
    }
    return Message(
        message.body,
        headers={**_within_bound(theirs), **ours},
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=None if message.reply_to == DIRECT_REPLY_TO else message.reply_to,
        expiration=message.expiration if expires else None,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )


def _within_bound(headers: dict[str, Any]) -> dict[str, Any]:
    """Drop and name the headers that cannot be written, and the largest if all do not fit into one frame with ours."""
    encodable = {name: bytearray(value) if isinstance(value, bytes) else value for name, value in headers.items()}
    sizes = {name: _size(name, value) for name, value in encodable.items()}
    dropped: list[str] = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= HEADERS_BYTES:
            break
        del sizes[name]
        dropped.append(name)
    kept = {name: encodable[name] for name in sizes}
    return {**kept, DROPPED_HEADER: one_line(", ".join(dropped))} if dropped else kept


def _size(name: str, value: Any) -> float:  # noqa: ANN401 - every value of a header
    try:
        return len(pamqp.encode.field_table({name: value}))
    except Exception:  # noqa: BLE001 - TypeError, ValueError, struct.error, RecursionError and more
        return math.inf
