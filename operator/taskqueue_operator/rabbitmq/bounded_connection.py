"""A connection of the AMQP library that reads bounded frames and messages, at a bounded pace.

The AMQP library reads frames and bodies of any length, and decodes tables that contain one another to any depth.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from aio_pika import Connection
from aio_pika.abc import AbstractConnection
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPError
from aiormq.connection import TransportFactory
from pamqp import base, frame
from typing_extensions import override
from yarl import URL

from taskqueue_operator.resource import bounds

from . import frames
from .endpoint import Endpoint
from .handshake import HEARTBEAT_SECONDS
from .network import Network
from .pace import Pace

# aiormq raises RuntimeError for a closed channel or connection, and StopAsyncIteration if the broker closes the
# connection during the handshake.
CONNECTION_LOST: Final = (AMQPError, OSError, RuntimeError, TimeoutError, StopAsyncIteration)
_HEADER: Final = 2
_BODY: Final = 3
_BODY_SIZE: Final = struct.Struct(">HHQ")
"""The beginning of a content header: class, weight, length of the body."""


class Received(Protocol):
    """Is told what a connection receives, before the library is."""

    def method(self, channel: int, method: base.Frame) -> None:
        """A method has arrived."""

    def content(self, channel: int, body_bytes: int, *, readable: bool, whole: bool) -> None:
        """The header of a message has arrived.

        Args:
            channel: Number of the channel.
            body_bytes: Size of the body as it was sent.
            readable: Whether the properties arrive; otherwise there are none.
            whole: Whether the whole body arrives; otherwise its beginning.
        """


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much of a message is received, in bytes. Of a longer body the beginning, and no longer properties at all."""

    properties: int = bounds.AMQP_METHOD_BYTES
    body: int = bounds.AMQP_BODY_BYTES


REPORT_LIMITS: Final = ReadLimits()


class BoundedReader:
    """Stands in for the stream of the AMQP library, which reads whole frames from it.

    Of a message that is too long, the beginning of its body arrives; a message with properties that cannot be decoded
    arrives without properties. Otherwise every publisher of a vhost could end the connection.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        pace: Pace,
        limits: ReadLimits = REPORT_LIMITS,
        received: Received | None = None,
    ) -> None:
        self._reader = reader
        self._pace = pace
        self._limits = limits
        self._received = received
        self._frame = b""
        self._cut: dict[int, _Cut] = {}

    def at_eof(self) -> bool:
        """Whether nothing is left to read."""
        return not self._frame and self._reader.at_eof()

    async def readexactly(self, size: int) -> bytes:
        """Read a part of the next frame.

        Raises:
            NotAmqp: The peer does not send AMQP frames.
            OSError, asyncio.IncompleteReadError: The connection is lost.
        """
        if not self._frame:
            self._frame = await self._next_frame()
        part, self._frame = self._frame[:size], self._frame[size:]
        return part

    async def _next_frame(self) -> bytes:
        while True:
            header = await self._reader.readexactly(frames.HEADER.size)
            kind, channel, size = frames.HEADER.unpack(header)
            if kind not in frames.KINDS or size > bounds.AMQP_FRAME_BYTES:
                raise frames.NotAmqp
            payload = await self._reader.readexactly(size + 1)
            if payload[-1] != frames.END:
                raise frames.NotAmqp
            await self._pace.wait(units=1, read=len(header) + len(payload))
            if kind == frames.METHOD:
                self._check_method(channel, payload[:-1])
            if kind == _HEADER:
                return self._content_header(channel, payload)
            if kind != _BODY or channel not in self._cut:
                return header + payload
            if beginning := self._cut_body(channel, payload[:-1]):
                return _frame(_BODY, channel, beginning)

    def _check_method(self, channel: int, payload: bytes) -> None:
        method = frames.parse_method(payload)
        if self._received is not None:
            self._received.method(channel, method)

    def _content_header(self, channel: int, payload: bytes) -> bytes:
        if len(payload) <= _BODY_SIZE.size:
            raise frames.NotAmqp
        klass, weight, length = _BODY_SIZE.unpack_from(payload)
        kept = min(length, self._limits.body)
        if kept < length:
            self._cut[channel] = _Cut(kept=kept, left=length)
        content = _BODY_SIZE.pack(klass, weight, kept)
        whole = _frame(_HEADER, channel, content + payload[_BODY_SIZE.size : -1])
        readable = len(payload) <= self._limits.properties and _is_decodable(whole)
        if self._received is not None:
            self._received.content(channel, length, readable=readable, whole=kept == length)
        return whole if readable else _frame(_HEADER, channel, content + bytes(2))

    def _cut_body(self, channel: int, content: bytes) -> bytes:
        """Return what is kept of the next part of a body that is too long."""
        cut = self._cut[channel]
        beginning = content[: cut.kept]
        cut.kept -= len(beginning)
        cut.left -= len(content)
        if cut.left <= 0:
            del self._cut[channel]
        return beginning


@dataclass(slots=True)
class _Cut:
    """What is still to be kept, and to be received, of a body that is too long; in bytes."""

    kept: int
    left: int


async def bounded_connection(
    network: Network,
    endpoint: Endpoint,
    name: str,
    limits: ReadLimits = REPORT_LIMITS,
    received: Received | None = None,
) -> AbstractConnection:
    """Connect with the AMQP library. The caller sets the timeout. `received` is told what arrives.

    Raises:
        AMQPError, OSError, StopAsyncIteration: The broker cannot be reached, or refuses.
    """
    url = make_url(
        host=endpoint.host,
        port=endpoint.port,
        login=endpoint.username,
        password=endpoint.password,
        virtualhost=endpoint.vhost,
        heartbeat=HEARTBEAT_SECONDS,
    )
    connection = Connection(url, client_properties={"connection_name": name})
    connection.kwargs["transport_factory"] = _BoundedTransport(
        network, endpoint, lambda stream: BoundedReader(stream, network.amqp_pace(endpoint), limits, received)
    )
    await connection.connect()
    return connection


class _BoundedTransport(TransportFactory):
    """Connects for the AMQP library by way of our resolver, and bounds what it reads."""

    def __init__(
        self, network: Network, endpoint: Endpoint, bounded: Callable[[asyncio.StreamReader], BoundedReader]
    ) -> None:
        self._network = network
        self._endpoint = endpoint
        self._bounded = bounded

    @override
    async def create(  # type: ignore[override]  # what the library uses of a reader
        self,
        url: URL,
        **_: object,
    ) -> tuple[BoundedReader, asyncio.StreamWriter]:
        endpoint = self._endpoint
        context = endpoint.ssl_context() if endpoint.tls else None
        reader, writer = await self._network.open_stream(endpoint, context)
        return self._bounded(reader), writer


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return frames.HEADER.pack(kind, channel, len(payload)) + payload + bytes([frames.END])


def _is_decodable(whole: bytes) -> bool:
    try:
        frame.unmarshal(whole)
    except Exception:  # noqa: BLE001  whatever the decoder raises, and RecursionError
        return False
    return True
