"""Takes the deliveries out of what a broker sends; everything else is left to the AMQP library. Pure."""

import struct
from collections.abc import Callable
from typing import Any, Final

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from .properties import content_header

METHOD, CONTENT_HEADER, CONTENT_BODY, HEARTBEAT = 1, 2, 3, 8
FRAME: Final = struct.Struct(">BHI")
"""Frame type, channel number, size of the payload. One byte after the payload ends the frame."""
END: Final = 0xCE
_KINDS: Final = frozenset({METHOD, CONTENT_HEADER, CONTENT_BODY, HEARTBEAT})
_DELIVER: Final = b"\x00\x3c\x00\x3c"
_CLOSE: Final = (b"\x00\x14\x00\x28", b"\x00\x14\x00\x29")
"""`channel.close`, and `channel.close-ok`."""
_TAG: Final = struct.Struct(">Q?")
"""Delivery tag, and whether the message is redelivered."""

Receive = Callable[[DeliveredMessage], None]


class DeliveryStream:
    """The frames of a connection, from pieces of any length."""

    def __init__(self) -> None:
        self._consumers: dict[int, _ChannelDeliveries] = {}
        self._beginning = bytearray()
        """The beginning of a frame whose rest has not arrived."""
        self._missing = 0
        """So many bytes must arrive before the frame can be complete."""
        self._is_foreign = False
        """Whether something arrived that is no frame: the library says what is wrong."""

    def deliver(
        self, number: int, channel: AbstractChannel, receive: Receive, on_close: Callable[[], None] = lambda: None
    ) -> None:
        """Call `receive` with each message that is delivered on the channel with this number.

        `on_close` is called at once when the broker closes the channel. The library notices it several steps of the
        loop later, when it may have sent its answer.
        """
        self._consumers[number] = _ChannelDeliveries(channel, receive, on_close)

    def forget(self, receive: Receive) -> None:
        """Do not call `receive` any more: its channel is closed, and the number may belong to another one already."""
        for number in [number for number, found in self._consumers.items() if found.receive == receive]:
            del self._consumers[number]

    def feed(self, data: bytes) -> bytes:
        """Take further bytes; return those of complete frames that are no deliveries."""
        if self._is_foreign:
            return data
        if self._beginning:
            self._beginning += data
            self._missing -= len(data)
            if self._missing > 0:
                return b""
            data = bytes(self._beginning)
            self._beginning.clear()
        return self._take(data)

    def feed_eof(self) -> bytes:
        """Return what has arrived of a frame that is not complete."""
        cut = bytes(self._beginning)
        self._beginning.clear()
        return cut

    def _take(self, data: bytes) -> bytes:
        left: list[bytes] = []
        begin, size = 0, len(data)
        while size - begin > FRAME.size:
            kind, channel, length = FRAME.unpack_from(data, begin)
            last = begin + FRAME.size + length
            if kind not in _KINDS or (last < size and data[last] != END):
                self._is_foreign = True
                break
            if last >= size:
                self._missing = last + 1 - size
                break
            consumer = self._consumers.get(channel)
            if consumer is None or not consumer.take(kind, data, begin + FRAME.size, last):
                left.append(data[begin : last + 1])
            begin = last + 1
        if self._is_foreign:
            left.append(data[begin:])
        else:
            self._beginning += data[begin:]
        return b"".join(left)


class _ChannelDeliveries:
    """Puts the frames of each delivery on a channel together."""

    def __init__(self, channel: AbstractChannel, receive: Receive, on_close: Callable[[], None]) -> None:
        self._channel = channel
        self.receive = receive
        self._on_close = on_close
        self._method: Basic.Deliver | None = None
        self._header: ContentHeader | None = None
        self._body: list[bytes] = []
        self._missing = 0

    def take(self, kind: int, data: bytes, begin: int, end: int) -> bool:
        """Take a frame with this payload; False if it is no part of a delivery."""
        if kind == METHOD and data.startswith(_DELIVER, begin):
            self._method = _parse_deliver(data, begin + len(_DELIVER))
            return True
        if kind == METHOD and data.startswith(_CLOSE, begin):
            self._on_close()
            return False
        if self._method is None:
            return False
        if kind == CONTENT_HEADER and self._header is None:
            self._header = content_header(data[begin:end])
            self._missing = self._header.body_size
        elif kind == CONTENT_BODY and self._header is not None:
            self._body.append(data[begin:end])
            self._missing -= end - begin
        else:
            return False
        if self._missing <= 0:
            self._complete(self._method, self._header)
        return True

    def _complete(self, method: Basic.Deliver, header: ContentHeader) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._method, self._header, self._body = None, None, []
        self.receive(DeliveredMessage(method, header, body, self._channel))


def _parse_deliver(data: bytes, position: int) -> Basic.Deliver:
    position, consumer_tag = _short_text(data, position)
    delivery_tag, redelivered = _TAG.unpack_from(data, position)
    position, exchange = _short_text(data, position + _TAG.size)
    _, routing_key = _short_text(data, position)
    deliver: Any = Basic.Deliver.__new__(Basic.Deliver)  # the library would check names that the broker has accepted
    deliver.consumer_tag, deliver.delivery_tag, deliver.redelivered = consumer_tag, delivery_tag, redelivered
    deliver.exchange, deliver.routing_key = exchange, routing_key
    return deliver  # type: ignore[no-any-return]


def _short_text(data: bytes, position: int) -> tuple[int, str]:
    end = position + 1 + data[position]
    return end, data[position + 1 : end].decode(errors="replace")
