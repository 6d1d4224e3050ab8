"""Decodes the content header of a message: at once if it is an ordinary one, by the AMQP library otherwise. Pure."""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pamqp import decode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

FIXED: Final = struct.Struct(">HHQH")
"""Class, weight, size of the body, and the flags of the properties that follow."""
_OTHER_FLAGS: Final = 0b11
"""More flags follow, or a flag without a property."""
_DELIVERY_MODES: Final = (None, 1, 2)


class _Property(NamedTuple):
    """A property that the flags announce."""

    name: str
    decode: Callable[[bytes, int], tuple[int, Any]]


def content_header(payload: bytes) -> ContentHeader:
    """Decode the payload of a content header frame, exactly as the library does."""
    try:
        return _ordinary(payload)
    except Exception:  # noqa: BLE001 - whatever publishers have set; the library decides what it is
        header = ContentHeader()
        header.unmarshal(payload)
        return header


def _ordinary(payload: bytes) -> ContentHeader:
    _, weight, body_size, flags = FIXED.unpack_from(payload)
    properties, position = Basic.Properties(), FIXED.size
    for name, decode_at in _announced(flags):
        position, value = decode_at(payload, position)
        setattr(properties, name, value)
    if properties.delivery_mode not in _DELIVERY_MODES:
        raise ValueError
    return ContentHeader(weight, body_size, properties)


@lru_cache(maxsize=1024)
def _announced(flags: int) -> tuple[_Property, ...]:
    if flags & _OTHER_FLAGS:
        raise ValueError
    names = (name for name in Basic.Properties.__slots__ if flags & Basic.Properties.flags[name])
    return tuple(_Property(name, _DECODERS[getattr(Basic.Properties, f"_{name}")]) for name in names)


def _short_text(payload: bytes, position: int) -> tuple[int, str]:
    end = position + 1 + payload[position]
    if end > len(payload):
        raise ValueError
    return end, payload[position + 1 : end].decode()


def _octet(payload: bytes, position: int) -> tuple[int, int]:
    return position + 1, payload[position]


def _table(payload: bytes, position: int) -> tuple[int, Any]:
    if payload.startswith(b"\0\0\0\0", position):
        return position + 4, {}
    size, table = decode.field_table(payload[position:])
    return position + size, table


def _timestamp(payload: bytes, position: int) -> tuple[int, Any]:
    size, time = decode.timestamp(payload[position:])
    return position + size, time


_DECODERS: Final[dict[str, Callable[[bytes, int], tuple[int, Any]]]] = {
    "shortstr": _short_text,
    "octet": _octet,
    "table": _table,
    "timestamp": _timestamp,
}
