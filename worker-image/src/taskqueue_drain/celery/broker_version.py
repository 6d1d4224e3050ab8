"""The version of the broker that a Celery worker is connected to."""

from typing import Any


def broker_version(connection: Any) -> tuple[int, ...]:  # noqa: ANN401 - kombu has no types
    """Return the first two numbers of the broker's version; empty if it does not state them."""
    version = connection.connection.server_properties.get("version")
    numbers = version.split(".")[:2] if isinstance(version, str) else []
    return tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else ()
