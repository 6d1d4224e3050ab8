"""Copies of messages: dead letters, retries, and messages that return to their queue. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pamqp.encode
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from taskqueue_drain import copy_headers

from .bounds import HEADERS_BYTES, TEXT_CHARACTERS

DROPPED_HEADER: Final = "x-dropped-headers"
DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a task."""

    reason: str
    """`failed`, `timeout`, `unknown_type`, `invalid_payload`, `rejected`, `expired`, or `worker_lost`."""
    error_class: str
    error_text: str


def dead_letter(message: AbstractIncomingMessage, queue: str, attempt: int, problem: Problem, now: datetime) -> Message:
    """Return the dead letter of a message: the same message, with headers that say what went wrong."""
    at = now.isoformat(timespec="milliseconds")
    return _copy(
        message,
        {
            copy_headers.REASON: problem.reason,
            copy_headers.ERROR_CLASS: one_line(problem.error_class),
            copy_headers.ERROR_TEXT: one_line(problem.error_text),
            copy_headers.ATTEMPT: attempt,
            **copy_headers.first_failure(message.headers, at),
            copy_headers.LAST_FAILURE: at,
            copy_headers.QUEUE: queue,
            **_origin(message),
        },
        expires=False,
    )


def returning(message: AbstractIncomingMessage, attempt_headers: Mapping[str, object], now: datetime) -> Message:
    """Return the copy of a message that goes to its queue again, with the headers of its next attempt."""
    first_failure = copy_headers.first_failure(message.headers, now.isoformat(timespec="milliseconds"))
    return _copy(message, {**attempt_headers, **first_failure, **_origin(message)}, expires=True)


def retry(message: AbstractIncomingMessage, attempt: int, problem: Problem, now: datetime) -> Message:
    """Return the copy of a message that is tried again after a delay, as the attempt with this number."""
    at = now.isoformat(timespec="milliseconds")
    return _copy(
        message,
        {
            copy_headers.ERROR_CLASS: one_line(problem.error_class),
            copy_headers.ERROR_TEXT: one_line(problem.error_text),
            copy_headers.ATTEMPT: attempt,
            **copy_headers.first_failure(message.headers, at),
            copy_headers.LAST_FAILURE: at,
            **_origin(message),
        },
        expires=False,
    )


def requeued(message: AbstractIncomingMessage, attempt: int) -> Message:
    """Return the copy of a message that returns to its queue, to run as the attempt that it was."""
    return _copy(message, {copy_headers.ATTEMPT: attempt, **_origin(message)}, expires=True)


def original_routing_key(headers: Mapping[str, Any], routing_key: str | None) -> str:
    """Return the routing key with which the task was published, from the headers and the routing key of its message."""
    return copy_headers.recorded(headers, copy_headers.ROUTING_KEY, routing_key or "")


def one_line(text: str) -> str:
    """Return the text without line breaks and repeated blanks, cut to `TEXT_CHARACTERS`, and valid Unicode."""
    words = " ".join(text[: 4 * TEXT_CHARACTERS].split())[:TEXT_CHARACTERS]
    return words.encode(errors="backslashreplace").decode()


def _origin(message: AbstractIncomingMessage) -> dict[str, str]:
    return copy_headers.origin(message.headers, message.exchange or "", message.routing_key or "")


def _copy(message: AbstractIncomingMessage, ours: dict[str, Any], *, expires: bool) -> Message:
    """Copy a message, without what the broker compares with the connection: the user, and a reply to this channel."""
    theirs = {name: value for name, value in copy_headers.copied(message.headers).items() if name not in ours}
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
