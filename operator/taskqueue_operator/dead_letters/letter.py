"""One dead letter, as its headers describe it. Others wrote all of it, so each value is bounded and may be wrong.

A worker of this project publishes its dead letters with the headers of docs/worker-contract.md. The broker dead-letters
what other consumers reject, with the header x-death.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from taskqueue_operator.resource.bounds import (
    DEAD_LETTER_ID_CHARACTERS,
    DEAD_LETTER_NAME_CHARACTERS,
    DEAD_LETTER_TEXT_CHARACTERS,
)
from taskqueue_operator.resource.text import shorten

Headers = Mapping[str, object]
Value = TypeVar("Value")

REASON: Final = "x-failure-reason"
CLASS: Final = "x-failure-class"
TEXT: Final = "x-failure-text"
ATTEMPT: Final = "x-attempt"
FIRST_FAILURE: Final = "x-first-failure-at"
LAST_FAILURE: Final = "x-last-failure-at"
QUEUE: Final = "x-original-queue"
EXCHANGE: Final = "x-original-exchange"
ROUTING_KEY: Final = "x-original-routing-key"
DEATH: Final = "x-death"

NAME_BYTES: Final = 255
"""Longest name of a queue or an exchange, and longest routing key, in AMQP."""
HIGHEST_ATTEMPT: Final = 10**6
"""A worker gives up after 1,000 attempts at most."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is known of a dead letter. An empty text or None means that the message does not say it.

    Attributes:
        id: The message_id.
        type: Task type; without one, the original routing key, as a worker reads it.
        reason: Of a worker: `failed`, `timeout`, `unknown_type`, `invalid_payload`, `rejected`, `worker_lost`. Of the
            broker: `rejected`, `expired`, `maxlen`, `delivery_limit`. `unreadable`: The properties cannot be decoded.
        queue: The queue in which the message was before; exact, or empty.
        exchange: The exchange to which the message was published; exact, or None.
        routing_key: With which routing key; exact, or None.
        body_bytes: Size of the body.
        is_whole: Whether properties and body were received completely, so that a copy loses nothing.
    """

    id: str = ""
    type: str = ""
    reason: str = ""
    error_class: str = ""
    error_text: str = ""
    attempt: int | None = None
    first_failure: datetime | None = None
    last_failure: datetime | None = None
    queue: str = ""
    exchange: str | None = None
    routing_key: str | None = None
    body_bytes: int = 0
    is_whole: bool = True


UNREADABLE: Final = "unreadable"


def unreadable(body_bytes: int) -> DeadLetter:
    """Return what is known of a message whose properties cannot be decoded."""
    return DeadLetter(reason=UNREADABLE, body_bytes=body_bytes, is_whole=False)


def read(
    headers: Headers, *, message_id: object, message_type: object, body_bytes: int, is_whole: bool = True
) -> DeadLetter:
    """Read the properties of a message in a dead-letter queue."""
    death = _last_death(headers)
    keys = death.get("routing-keys")
    exchange = _first(_name(headers.get(EXCHANGE)), _name(death.get("exchange")))
    routing_key = _first(_name(headers.get(ROUTING_KEY)), _name(keys[0]) if isinstance(keys, list) and keys else None)
    died_at = _time(death.get("time"))
    return DeadLetter(
        id=line(message_id, DEAD_LETTER_ID_CHARACTERS),
        type=line(message_type, DEAD_LETTER_NAME_CHARACTERS) or line(routing_key, DEAD_LETTER_NAME_CHARACTERS),
        reason=line(headers.get(REASON) or death.get("reason"), DEAD_LETTER_NAME_CHARACTERS),
        error_class=line(headers.get(CLASS), DEAD_LETTER_NAME_CHARACTERS),
        error_text=line(headers.get(TEXT), DEAD_LETTER_TEXT_CHARACTERS),
        attempt=_attempt(headers.get(ATTEMPT)),
        first_failure=_first(_time(headers.get(FIRST_FAILURE)), died_at),
        last_failure=_first(_time(headers.get(LAST_FAILURE)), died_at),
        queue=_name(headers.get(QUEUE)) or _name(death.get("queue")) or "",
        exchange=exchange,
        routing_key=routing_key,
        body_bytes=body_bytes,
        is_whole=is_whole,
    )


def line(value: object, characters: int) -> str:
    """Return a text from outside on one line, without what a terminal would act on; empty if it is no text."""
    if not isinstance(value, str):
        return ""
    printable = "".join(character if character.isprintable() else " " for character in value[: 2 * characters])
    return shorten(" ".join(printable.split()), characters)


def _last_death(headers: Headers) -> Mapping[str, object]:
    """Return the first entry of x-death, which is about the last event."""
    deaths = headers.get(DEATH)
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, dict) else {}


def _name(value: object) -> str | None:
    """Return a name unchanged: a shortened one would be that of another queue."""
    if not isinstance(value, str):
        return None
    try:
        return value if len(value.encode()) <= NAME_BYTES else None
    except UnicodeEncodeError:
        return None


def _attempt(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= HIGHEST_ATTEMPT else None


def _time(value: object) -> datetime | None:
    """Parse a time of a worker (ISO 8601) or of the broker; without a zone it is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value[:64])
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):  # in the first or last hours of the calendar
        return None


def _first(*values: Value | None) -> Value | None:
    return next((value for value in values if value is not None), None)
