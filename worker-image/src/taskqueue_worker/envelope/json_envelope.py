"""The JSON envelope: identity, type and version of a task are in the body, beside its payload. Pure.

{"id": "...", "type": "email.send", "version": 1, "timestamp": "...", "data": {...},
 "metadata": {"correlation_id": "...", "retry_count": 0}}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from taskqueue_drain.bounds import ATTEMPT_NUMBER, NAME_BYTES
from taskqueue_worker.bounds import LATEST_VERSION
from taskqueue_worker.payload import JSON, PayloadError, decode, encode

from .task_headers import FIRST_VERSION, format_time, is_version, parse_time

CONTENT_TYPE: Final = "application/vnd.taskqueue+json"

_REQUIRED: Final = (b'"id"', b'"type"', b'"data"')
_ESCAPE: Final = b"\\u"
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,10}(\.0)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the envelope says of a task.

    Attributes:
        id: The identity of the task.
        type: The task type.
        data: The payload.
        version: The version of the payload.
        timestamp: When the task was published.
        correlation_id: What the publisher relates the task to.
        retry_count: How many attempts the publisher says there were before.
    """

    id: str
    type: str
    data: object
    version: int = FIRST_VERSION
    timestamp: datetime | None = None
    correlation_id: str | None = None
    retry_count: int = 0

    @classmethod
    def read(cls, document: object) -> Self:
        """Read a decoded body. Fields that the envelope does not have are ignored.

        Raises:
            PayloadError: It is no envelope, or a field is not valid.
        """
        fields = _object(document, "The body")
        if "data" not in fields:
            raise PayloadError("The envelope has no field data. Put the payload of the task there, or null.")
        metadata = fields.get("metadata")
        described = {} if metadata is None else _object(metadata, "The field metadata of the envelope")
        correlation_id = described.get("correlation_id")
        return cls(
            id=_name(fields.get("id"), "id"),
            type=_name(fields.get("type"), "type"),
            data=fields["data"],
            version=_version(fields.get("version")),
            timestamp=_timestamp(fields.get("timestamp")),
            correlation_id=None if correlation_id is None else _name(correlation_id, "metadata.correlation_id"),
            retry_count=_retry_count(described.get("retry_count")),
        )

    def encode(self) -> bytes:
        """Write the body of a message.

        Raises:
            PayloadError: The payload contains a number that JSON does not have.
            TypeError: The payload cannot be encoded as JSON.
        """
        return encode(
            {
                "id": self.id,
                "type": self.type,
                "version": self.version,
                "timestamp": None if self.timestamp is None else format_time(self.timestamp),
                "data": self.data,
                "metadata": {"correlation_id": self.correlation_id, "retry_count": self.retry_count},
            }
        )


def open_envelope(body: bytes, content_type: str | None, message_type: str | None) -> Envelope | None:
    """Return the envelope in the body of a message, if it has one.

    Two things make an envelope, and nothing else does: its content type; or, in a JSON message without the property
    `type`, the fields `id` and `type`, which are texts, and `data`.

    Raises:
        PayloadError: It has one, and it is not valid.
    """
    if message_type and content_type == JSON:
        return None  # most messages
    media_type = media_type_of(content_type)
    if media_type == CONTENT_TYPE:
        return Envelope.read(decode(body))
    if message_type or media_type != JSON or not _may_have_shape(body):
        return None
    try:
        document = decode(body)
    except PayloadError:
        return None  # the payload is not valid either
    return Envelope.read(document) if _has_shape(document) else None


def media_type_of(content_type: str | None) -> str:
    """Return the media type of a content type without its parameters; JSON if there is none."""
    return (content_type or JSON).partition(";")[0].strip().lower()


def _may_have_shape(body: bytes) -> bool:
    """Whether decoding could show an envelope: cheap, so that other messages are not decoded twice."""
    return _ESCAPE in body or all(name in body for name in _REQUIRED)


def _has_shape(document: object) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("id"), str)
        and isinstance(document.get("type"), str)
        and "data" in document
    )


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PayloadError(f"{what} is no JSON object. See docs/envelope.md for the fields of the envelope.")
    return value


def _name(value: object, field: str) -> str:
    if not isinstance(value, str) or not 1 <= _utf8_bytes(value) <= NAME_BYTES:
        raise PayloadError(f"The field {field} of the envelope must be a text of 1 to {NAME_BYTES} bytes.")
    return value


def _utf8_bytes(text: str) -> int:
    """Return the length of a text in UTF-8; 0 for half a surrogate pair, which AMQP and log lines cannot carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _version(value: object) -> int:
    if value is None:
        return FIRST_VERSION
    number = int(float(value)) if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) else value
    if not is_version(number):
        raise PayloadError(f"The field version of the envelope must be a whole number from 1 to {LATEST_VERSION}.")
    return number


def _timestamp(value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    if (time := parse_time(value)) is None:
        raise PayloadError(
            "The field timestamp of the envelope must be a time like 2026-01-31T12:00:00Z, or seconds since 1970."
        )
    return time


def _retry_count(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PayloadError("The field metadata.retry_count of the envelope must be a whole number from 0.")
    return min(value, ATTEMPT_NUMBER - 1)
