"""AMQP 0-9-1 as bytes: what passes thousands of times a second by hand, the rest by pamqp."""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from pamqp import base, frame
from pamqp.exceptions import PAMQPException

METHOD: Final = 1
HEARTBEAT: Final = 8
HEADER: Final = struct.Struct(">BHI")
"""Of a frame: type, channel number, size of the payload. One byte more ends the frame."""
END: Final = 0xCE
LONGEST: Final = 1 << 17
"""Of a payload; what is longer is no answer to anything that is asked here."""

_DECLARE: Final = b"\x00\x32\x00\x0a"
_PASSIVE: Final = b"\x01" + bytes(4)
"""The flags, and an empty table of arguments."""
DECLARE_OK: Final = b"\x00\x32\x00\x0b"
_COUNTS: Final = struct.Struct(">II")


class NotAmqp(ConnectionError):
    """The other side says what is no AMQP 0-9-1, or what it was not asked."""


def questions(channel: int, queues: Sequence[str]) -> bytes:
    """Write one passive declare for each queue. The name may be of any characters; pamqp allows few of them."""
    beginning = HEADER.pack(METHOD, channel, 0)[:3]
    return beginning + beginning.join(map(_question, queues))


@lru_cache(maxsize=1 << 15)
def _question(queue: str) -> bytes:
    """Write what comes after type and channel, which is the same whenever a queue is asked."""
    name = queue.encode()
    payload = _DECLARE + bytes(2) + bytes([len(name)]) + name + _PASSIVE
    return len(payload).to_bytes(4, "big") + payload + bytes([END])


def answer(data: bytes, begin: int, end: int) -> tuple[bytes, int]:
    """Read the name and the number of ready messages of a DeclareOk."""
    ready, _ = _COUNTS.unpack_from(data, end - _COUNTS.size)
    return data[begin + len(DECLARE_OK) + 1 : end - _COUNTS.size], ready


def frames(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Find the complete frames: type, channel number, begin and end of the payload.

    Raises:
        NotAmqp: It is something else.
    """
    position, last = 0, len(data) - HEADER.size
    while position < last:
        kind, channel, size = HEADER.unpack_from(data, position)
        if size > LONGEST:
            raise NotAmqp
        begin = position + HEADER.size
        end = begin + size
        if end >= len(data):
            return
        if data[end] != END:
            raise NotAmqp
        yield kind, channel, begin, end
        position = end + 1


def method(payload: bytes) -> base.Frame:
    """Read any method.

    Raises:
        NotAmqp: There is no such method.
    """
    try:
        _, _, read = frame.unmarshal(HEADER.pack(METHOD, 0, len(payload)) + payload + bytes([END]))
    except (PAMQPException, ValueError, struct.error):
        raise NotAmqp from None
    if not isinstance(read, base.Frame):
        raise NotAmqp
    return read
