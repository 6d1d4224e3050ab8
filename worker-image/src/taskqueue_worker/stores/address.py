"""Where a store is, without its password."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

ESCAPES: Final = "In a password, write / as %2F, ? as %3F and # as %23."


def address_of(url: str, schemes: Collection[str], port: int) -> str:
    """Return host and port of a URL, or the path of a socket.

    Raises:
        ValueError: It is no URL of such a store. The text does not repeat it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        number = parts.port or port
    except (ValueError, AttributeError, TypeError):
        parts, number = urlsplit(""), port
    if parts.scheme not in schemes:
        expected = " or ".join(f"{scheme}://..." for scheme in schemes)
        raise ValueError(f"The URL of the store must be {expected}, with a port of digits. {ESCAPES}")
    if "@" in parts.path:  # the rest of a password
        raise ValueError(f"The URL of the store has a / before its host. {ESCAPES}")
    return f"{parts.hostname}:{number}" if parts.hostname else parts.path
