"""A connection whose deliveries and acknowledgements do not pass through the AMQP library."""

import asyncio
from typing import Any, Final

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from .delivery_stream import END, FRAME, HEARTBEAT, DeliveryStream

SIGN_OF_LIFE_SECONDS: Final = 1.0
_HEARTBEAT_FRAME: Final = FRAME.pack(HEARTBEAT, 0, 0) + bytes([END])


class Connection(aio_pika.Connection):
    """A connection of aio-pika.

    Attributes:
        deliveries: Where a consumer says what receives its messages.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the library
        super().__init__(*arguments, **options)
        self.deliveries = DeliveryStream()
        self._socket = _Socket(self.deliveries)
        self.kwargs["transport_factory"] = self._socket

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent, as far as is known here."""
        return self._socket.is_open

    def write(self, frames: bytes) -> None:
        """Send complete frames, before those that the library has not sent yet."""
        self._socket.write(frames)


class _Socket(TransportFactory):
    """Opens the socket of one connection."""

    def __init__(self, deliveries: DeliveryStream) -> None:
        self._deliveries = deliveries
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    def write(self, data: bytes) -> None:
        if self._writer is not None and self.is_open:
            self._writer.write(data)

    async def create(  # type: ignore[explicit-override]  # typing has no `override` before Python 3.12
        self,
        url: URL,
        **options: Any,  # noqa: ANN401 - those of the library
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = options.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = _Reader(self._deliveries, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, str(url.host), int(url.port or 0), ssl=context, **options
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer


class _Reader(asyncio.StreamReader):
    """What the library reads: everything but deliveries."""

    def __init__(self, deliveries: DeliveryStream, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._deliveries = deliveries
        self._clock = loop.time
        self._fed_at = 0.0

    def feed_data(self, data: Any) -> None:  # type: ignore[explicit-override]  # noqa: ANN401 - bytes
        """Take what the broker sent."""
        left, now = self._deliveries.feed(data), self._clock()
        if not left and now - self._fed_at >= SIGN_OF_LIFE_SECONDS:
            # The broker sends no heartbeat while it delivers, and the library would take the connection for dead.
            left = _HEARTBEAT_FRAME
        if left:
            self._fed_at = now
            super().feed_data(left)

    def feed_eof(self) -> None:  # type: ignore[explicit-override]  # likewise
        """The broker sends nothing more. A lost connection ends a second time."""
        if cut := self._deliveries.feed_eof():
            super().feed_data(cut)
        super().feed_eof()
