"""The message of a task, as a publisher writes it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Required, TypedDict, Unpack

from aio_pika import DeliveryMode, Message
from pamqp.common import FieldTable
from pamqp.encode import field_table

from taskqueue_drain.bounds import NAME_BYTES
from taskqueue_worker.bounds import HEADERS_BYTES, HIGHEST_PRIORITY
from taskqueue_worker.envelope.json_envelope import CONTENT_TYPE, Envelope
from taskqueue_worker.envelope.task_headers import EXPIRES_AT, FIRST_VERSION, VERSION, format_time, is_version
from taskqueue_worker.payload import JSON, check_length, encode

from .schedule import Schedule, Seconds

BYTES: Final = "application/octet-stream"


class TaskProperties(TypedDict, total=False):
    """What a publisher says of a task. Only `type` is required."""

    type: Required[str]
    """The task type, as in `@task(...)`."""
    message_id: str | None
    """The identity of the task. Default: a new UUID."""
    version: int | None
    """The version of the payload. Default: 1."""
    correlation_id: str | None
    """What the task relates to, for example a request."""
    headers: Mapping[str, Any] | None
    """Further headers."""
    priority: int | None
    """From 0 to 255. The queue decides what it does with it."""
    envelope: Literal["json"] | None
    """`"json"`: the body is the JSON envelope, and the payload is in its field `data`."""


class TaskOptions(TaskProperties, total=False):
    """What a publisher says of a task, and when it may run."""

    delay: Seconds | None
    """How long the task waits before it enters its queue, in seconds or as a timedelta."""
    not_before: datetime | None
    """When the task enters its queue, instead of `delay`."""
    expires: Seconds | datetime | None
    """When, or how long after now, the task expires. What has not begun by then is dead-lettered."""


def task_message(payload: object, now: datetime, schedule: Schedule, **properties: Unpack[TaskProperties]) -> Message:
    """Return the persistent message of a task; it needs a `message_id`.

    Raises:
        PayloadError: The payload contains NaN or an infinite number, which JSON does not have, or is too long.
        TypeError: The payload cannot be encoded as JSON, or a property is missing or unknown.
        ValueError: A property is not valid.
    """
    _check(properties)
    body, content_type = _body(payload, now, properties)
    if content_type != BYTES:
        check_length(body)  # the broker may close the channel of all publishes for it
    headers = dict(properties.get("headers") or {})
    if (version := properties.get("version")) is not None:
        headers[VERSION] = version
    if schedule.expires_at is not None:
        headers[EXPIRES_AT] = format_time(schedule.expires_at)
    _check_size(headers)
    return Message(
        body,
        content_type=content_type,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=properties.get("message_id"),
        correlation_id=properties.get("correlation_id"),
        type=properties["type"],
        headers=headers,
        priority=properties.get("priority"),
        timestamp=now,
        expiration=schedule.expiration(now),
    )


def _body(payload: object, now: datetime, properties: TaskProperties) -> tuple[bytes, str]:
    if properties.get("envelope") is None:
        return (payload, BYTES) if isinstance(payload, bytes) else (encode(payload), JSON)
    if isinstance(payload, bytes):
        raise TypeError("bytes cannot be the payload of a JSON envelope. Publish them without an envelope.")
    envelope = Envelope(
        id=properties.get("message_id") or "",
        type=properties["type"],
        data=payload,
        version=properties.get("version") or FIRST_VERSION,
        timestamp=now,
        correlation_id=properties.get("correlation_id"),
    )
    return envelope.encode(), CONTENT_TYPE


def _check_size(headers: FieldTable) -> None:
    """Refuse headers that do not fit into one frame: the broker would close the connection of all publishes."""
    size = len(field_table(headers)) if headers else 0
    if size > HEADERS_BYTES:
        raise ValueError(
            f"The headers have {size} bytes, and a message may have {HEADERS_BYTES}. Put the data into the payload."
        )


def _check(properties: TaskProperties) -> None:
    if unknown := properties.keys() - TaskProperties.__annotations__.keys():
        raise TypeError(f"A task has no property {min(unknown)!r}.")
    if not properties.get("type"):
        raise TypeError('A task needs a type, for example type="image.resize".')
    names = ("type", properties["type"]), ("message_id", properties.get("message_id")), _correlation(properties)
    for name, value in names:
        if value is not None and not 1 <= len(value.encode()) <= NAME_BYTES:
            raise ValueError(f"{name} must have 1 to {NAME_BYTES} bytes, which is what AMQP allows.")
    priority = properties.get("priority")
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise ValueError(f"priority={priority} must be from 0 to {HIGHEST_PRIORITY}.")
    if (version := properties.get("version")) is not None and not is_version(version):
        raise ValueError(f"version={version!r} must be a whole number from 1.")
    if properties.get("envelope") not in {None, "json"}:
        raise ValueError(f'envelope={properties.get("envelope")!r} must be "json", or None for no envelope.')


def _correlation(properties: TaskProperties) -> tuple[str, str | None]:
    return "correlation_id", properties.get("correlation_id")
