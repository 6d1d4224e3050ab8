"""The headers of a message that AMQP has no property for. Publishers may have set each of them to anything. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from taskqueue_worker.bounds import LATEST_VERSION, TIME_CHARACTERS
from taskqueue_worker.payload import PayloadError

VERSION: Final = "x-version"
EXPIRES_AT: Final = "x-expires-at"
FIRST_VERSION: Final = 1


def version(headers: Mapping[str, Any]) -> int:
    """Return the version of the payload.

    Raises:
        PayloadError: The header is no whole number from 1.
    """
    value: object = headers.get(VERSION, FIRST_VERSION)
    if not is_version(value):
        raise PayloadError(
            f"The header {VERSION} is no whole number from 1 to {LATEST_VERSION}. Correct the publisher."
        )
    return value


def is_version(value: object) -> TypeGuard[int]:
    """Return whether a value can be the version of a payload."""
    return isinstance(value, int) and not isinstance(value, bool) and FIRST_VERSION <= value <= LATEST_VERSION


def expires_at(headers: Mapping[str, Any]) -> datetime | None:
    """Return when the task expires, if it does.

    Raises:
        PayloadError: The header is no time.
    """
    if EXPIRES_AT not in headers:
        return None
    found = parse_time(headers[EXPIRES_AT])
    if found is None:
        raise PayloadError(
            f"The header {EXPIRES_AT} is no time. Write one like 2026-01-31T12:00:00Z, or remove the header."
        )
    return found


def parse_time(value: object) -> datetime | None:
    """Read a time of ISO 8601, in UTC if it names no zone. None: the value is no such time."""
    if not isinstance(value, str) or len(value) > TIME_CHARACTERS:
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_time(time: datetime) -> str:
    """Write a time as ISO 8601 in UTC."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
