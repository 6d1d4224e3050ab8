"""What the commands show of dead letters: values for JSON, bounded, and without what looks like a secret."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from taskqueue_operator.resource.bounds import (
    DEAD_LETTER_HEADERS,
    DEAD_LETTER_NAME_CHARACTERS,
    DEAD_LETTER_TEXT_CHARACTERS,
)

from .groups import Figures, Groups
from .letter import DeadLetter, Headers, line

Json = dict[str, object]

HIDDEN: Final = "(hidden)"
_SECRET: Final = re.compile(
    r"authori[sz]ation|authentication|token|secret|passw|cookie|credential|session|(api|access|private)[-_]?key",
    re.IGNORECASE,
)
"""Names of headers whose values are not shown."""
_OF_THE_LETTER: Final = ("x-failure-", "x-original-", "x-first-failure-at", "x-last-failure-at", "x-attempt")
"""Headers that the other fields already show."""


def groups_json(queue: str, ready: int, read: int, groups: Groups) -> Json:
    """Return a listing.

    Args:
        queue: Name of the queue.
        ready: How many messages were in the queue when the listing began.
        read: How many of them were read.
        groups: The selected ones of these.
    """
    listed = [
        {"type": group.type, "reason": group.reason, "class": group.error_class, **_figures_json(figures)}
        for group, figures in groups.largest_first()
    ]
    others = {"others": _figures_json(groups.others)} if groups.others.count else {}
    return {"queue": queue, "ready": ready, "read": read, "groups": listed, **others}


def letter_json(letter: DeadLetter, headers: Headers, content_type: object, body: bytes | None) -> Json:
    """Return one dead letter; its body, or the beginning of it, unless it is None."""
    shown: Json = {
        "id": letter.id,
        "type": letter.type,
        "reason": letter.reason,
        "class": letter.error_class,
        "text": letter.error_text,
        "attempt": letter.attempt,
        "firstFailure": _time(letter.first_failure),
        "lastFailure": _time(letter.last_failure),
        "queue": line(letter.queue, DEAD_LETTER_TEXT_CHARACTERS),
        "exchange": line(letter.exchange, DEAD_LETTER_TEXT_CHARACTERS),
        "routingKey": line(letter.routing_key, DEAD_LETTER_TEXT_CHARACTERS),
        "contentType": line(content_type, DEAD_LETTER_NAME_CHARACTERS),
        "bytes": letter.body_bytes,
        "headers": headers_json(headers),
    }
    return shown if body is None else {**shown, "body": body_text(body)}


def headers_json(headers: Headers) -> Mapping[str, str]:
    """Return the headers of the publisher as texts."""
    others = [name for name in headers if not name.startswith(_OF_THE_LETTER)]
    return {
        line(name, DEAD_LETTER_NAME_CHARACTERS): HIDDEN if _SECRET.search(name) else _value(headers[name])
        for name in others[:DEAD_LETTER_HEADERS]
    }


def body_text(body: bytes) -> str:
    """Return the beginning of a body as a text."""
    return line(body.decode(errors="backslashreplace"), DEAD_LETTER_TEXT_CHARACTERS)


def _value(value: object) -> str:
    if isinstance(value, dict | list):  # could contain a secret under any name
        return f"({len(value)} values)"
    if isinstance(value, bytes | bytearray):
        return f"({len(value)} bytes)"
    return line(value if isinstance(value, str) else str(value), DEAD_LETTER_TEXT_CHARACTERS)


def _figures_json(figures: Figures) -> Json:
    return {
        "count": figures.count,
        "bytes": figures.bytes,
        "oldest": _time(figures.oldest),
        "newest": _time(figures.newest),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
