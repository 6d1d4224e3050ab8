"""Validates the host and the port of a Secret. The operator reads the same Secret by the same rules."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from .bounds import HOST_CHARACTERS

LARGEST_PORT: Final = (1 << 16) - 1

_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_DOTTED_NUMBERS: Final = re.compile(r"[0-9.]+")


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


def is_port(text: str) -> bool:
    """Whether a text is the number of a TCP port."""
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) <= LARGEST_PORT


def split_port(text: str) -> tuple[str, str]:
    """Split `HOST:PORT` and `[IPV6]:PORT` into host and port, which is empty if there is none."""
    if bracketed := re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text):
        return bracketed[1], bracketed[2] or ""
    host, colon, port = text.partition(":")
    return (text, "") if not colon or ":" in port else (host, port)
