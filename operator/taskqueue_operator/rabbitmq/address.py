"""Validates hosts and ports of Secrets. Pure. Workers read the same Secret by the same rules."""

import base64
import binascii
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from taskqueue_operator.resource.bounds import HOST_CHARACTERS

LARGEST_PORT: Final = (1 << 16) - 1

_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_DOTTED_NUMBERS: Final = re.compile(r"[0-9.]+")
_SHORTEST_ENCODED: Final = 8
"""A shorter host name may be valid base64 of another one by chance."""


def is_host(text: str) -> bool:
    """Whether a text is a DNS name, an IPv4 address or an IPv6 address without brackets."""
    if len(text) > HOST_CHARACTERS:
        return False
    try:
        if ":" in text:
            return IPv6Address(text).scope_id is None
        if _DOTTED_NUMBERS.fullmatch(text):  # the resolver would read 127.1 as 127.0.0.1
            IPv4Address(text)
            return True
    except AddressValueError:
        return False
    return _NAME.fullmatch(text) is not None


def port_number(text: str) -> int | None:
    """Return a TCP port; None if the text is not one."""
    if not re.fullmatch(r"[0-9]{1,5}", text):
        return None
    return int(text) if 0 < int(text) <= LARGEST_PORT else None


def split_port(text: str) -> tuple[str, str]:
    """Split `HOST:PORT` and `[IPV6]:PORT` into host and port, which is empty if there is none."""
    if bracketed := re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text):
        return bracketed[1], bracketed[2] or ""
    host, colon, port = text.partition(":")
    return (text, "") if not colon or ":" in port else (host, port)


def bracketed(host: str) -> str:
    """Return a host as URLs contain it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_encoded_twice(text: str) -> bool:
    """Whether a value is base64 of a host, a port or a URI: the value of a Secret is encoded only once."""
    try:
        decoded = base64.b64decode(text, validate=True).decode("ascii").strip()
    except (binascii.Error, ValueError):
        return False
    if "://" in decoded or (text.endswith("=") and port_number(decoded)):
        return True
    return len(text) >= _SHORTEST_ENCODED and is_host(split_port(decoded)[0])
