"""Frames of AMQP 0-9-1, as far as the kit reads them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

FRAME_BYTES: Final = 16 * 2**20
"""Longest frame that is read. RabbitMQ agrees on 128 KiB by default."""

_METHOD: Final = 1
_GREETING: Final = b"AMQP"
_GREETING_BYTES: Final = 8
_PREFIX: Final = struct.Struct(">BHI")  # kind, channel, size of the payload
_OVERHEAD: Final = _PREFIX.size + 1  # and the octet that ends a frame


class Method(Enum):
    """A method by its class and its number in it."""

    CHANNEL_CLOSE = (20, 40)
    CHANNEL_CLOSE_OK = (20, 41)
    CONSUME = (60, 20)
    CONSUME_OK = (60, 21)
    CANCEL = (60, 30)
    CANCEL_OK = (60, 31)
    PUBLISH = (60, 40)
    DELIVER = (60, 60)
    ACK = (60, 80)
    REJECT = (60, 90)
    NACK = (60, 120)
    OTHER = (0, 0)


_METHODS: Final = {method.value: method for method in Method}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        channel: Number of the channel; 0 for frames of the connection.
        raw: The whole frame, to be forwarded.
        method: What it asks for or answers; None for content and heartbeats.
        arguments: The bytes after class and number of the method.
    """

    channel: int
    raw: bytes
    method: Method | None
    arguments: bytes


class FrameReader:
    """Splits one direction of a connection into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what has arrived, and give the frames that are complete.

        Raises:
            ValueError: It is no AMQP.
        """
        self._buffer += data
        while frame := self._next():
            yield frame

    def _next(self) -> Frame | None:
        if self._buffer[:1] == _GREETING[:1]:
            return self._take(_GREETING_BYTES, 0, is_method=False)
        if len(self._buffer) < _PREFIX.size:
            return None
        kind, channel, size = _PREFIX.unpack_from(self._buffer)
        if size > FRAME_BYTES:
            raise ValueError(f"a frame of {size} bytes")
        return self._take(size + _OVERHEAD, channel, is_method=kind == _METHOD)

    def _take(self, size: int, channel: int, *, is_method: bool) -> Frame | None:
        if len(self._buffer) < size:
            return None
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        if not is_method:
            return Frame(channel, raw, None, b"")
        numbers = struct.unpack_from(">HH", raw, _PREFIX.size)
        return Frame(channel, raw, _METHODS.get(numbers, Method.OTHER), raw[_PREFIX.size + 4 : -1])


def short_text(arguments: bytes, start: int) -> tuple[str, int]:
    """Read a short string; return it with the position after it."""
    end = start + 1 + arguments[start]
    return arguments[start + 1 : end].decode(errors="replace"), end


def delivery_tag(arguments: bytes, start: int = 0) -> int:
    """Read a delivery tag."""
    return int.from_bytes(arguments[start : start + 8])
