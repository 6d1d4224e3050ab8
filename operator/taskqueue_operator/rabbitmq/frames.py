"""AMQP 0-9-1 frames. For speed, passive declares and their answers are coded here; pamqp codes all other methods."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from pamqp import base, frame

from taskqueue_operator.resource.bounds import AMQP_FRAME_BYTES, AMQP_METHOD_BYTES

METHOD: Final = 1
HEARTBEAT: Final = 8
HEADER: Final = struct.Struct(">BHI")
"""Frame type, channel number, size of the payload. One byte after the payload ends the frame."""
END: Final = 0xCE
KINDS: Final = frozenset({METHOD, 2, 3, HEARTBEAT})
"""Methods, content headers, content bodies, heartbeats."""

_DECLARE: Final = b"\x00\x32\x00\x0a"
_PASSIVE: Final = b"\x01" + bytes(4)
"""The flags, and an empty table of arguments."""
DECLARE_OK: Final = b"\x00\x32\x00\x0b"
_COUNTS: Final = struct.Struct(">II")


class NotAmqp(ConnectionError):
    """The peer sent something that is not AMQP 0-9-1, or an unexpected method."""


def passive_declares(channel: int, queues: Sequence[str]) -> bytes:
    """Encode one passive declare per queue. Any queue name is allowed; pamqp would reject some."""
    beginning = HEADER.pack(METHOD, channel, 0)[:3]
    return beginning + beginning.join(map(_passive_declare, queues))


@lru_cache(maxsize=1 << 15)
def _passive_declare(queue: str) -> bytes:
    """Encode what follows frame type and channel number; it depends on the queue name only."""
    name = queue.encode()
    payload = _DECLARE + bytes(2) + bytes([len(name)]) + name + _PASSIVE
    return len(payload).to_bytes(4, "big") + payload + bytes([END])


def parse_declare_ok(data: bytes, begin: int, end: int) -> tuple[bytes, int, int]:
    """Return the queue name, the number of ready messages and that of consumers of a DeclareOk payload.

    Raises:
        NotAmqp: The payload is too short.
    """
    if end - begin < len(DECLARE_OK) + 1 + _COUNTS.size:
        raise NotAmqp
    ready, consumers = _COUNTS.unpack_from(data, end - _COUNTS.size)
    return data[begin + len(DECLARE_OK) + 1 : end - _COUNTS.size], ready, consumers


def complete_frames(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Return the complete frames: type, channel number, begin and end of the payload.

    Raises:
        NotAmqp: The data is not a sequence of AMQP frames.
    """
    position, last = 0, len(data) - HEADER.size
    while position < last:
        kind, channel, size = HEADER.unpack_from(data, position)
        if kind not in KINDS or size > AMQP_FRAME_BYTES:
            raise NotAmqp
        begin = position + HEADER.size
        end = begin + size
        if end >= len(data):
            return
        if data[end] != END:
            raise NotAmqp
        yield kind, channel, begin, end
        position = end + 1


def parse_method(payload: bytes) -> base.Frame:
    """Decode any method.

    Raises:
        NotAmqp: The payload is not an AMQP method.
    """
    method: object = None
    # Not raised inside: an error that is kept would keep the frames of the decoder, and copies of its input.
    if len(payload) <= AMQP_METHOD_BYTES:
        # Whatever the decoder raises, and RecursionError for tables within tables.
        with suppress(Exception):
            _, _, method = frame.unmarshal(HEADER.pack(METHOD, 0, len(payload)) + payload + bytes([END]))
    if not isinstance(method, base.Frame):
        raise NotAmqp
    return method
