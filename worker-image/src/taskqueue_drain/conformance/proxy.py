"""A TCP proxy between the worker and the broker: it reads the frames, holds some of them, and cuts connections."""

import asyncio
from itertools import count
from types import TracebackType
from typing import Final, Self

from .amqp_frames import FrameReader
from .deliveries import Deliveries
from .holds import Hold

CHUNK_BYTES: Final = 1 << 16
CONNECT_SECONDS: Final = 10


class Proxy:
    """Listens on a port of the loopback.

    Attributes:
        port: The port.
        deliveries: What passed through.
    """

    def __init__(self, host: str, port: int, deliveries: Deliveries) -> None:
        self._target = host, port
        self._server: asyncio.Server
        self._numbers = count(1)
        self._connections: dict[int, tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hold: Hold | None = None
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._refuses = False
        self.port = 0
        self.deliveries = deliveries

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, hold: Hold) -> None:
        """Hold back what it takes, until `release`."""
        self._hold = hold

    def release(self) -> None:
        """Forward what was held, in order, and everything from now on."""
        self._hold = None
        for writer, raw in self._held:
            writer.write(raw)
        self._held.clear()

    def cut(self, *, refuse: bool = False) -> None:
        """Close all connections, and with `refuse` each further one until `accept`."""
        self._refuses = refuse
        for ends in self._connections.values():
            for end in ends:
                end.transport.abort()

    def accept(self) -> None:
        """Accept connections again."""
        self._refuses = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the server runs in a task
        self._tasks.add(task)
        try:
            if not self._refuses:
                await self._connect(next(self._numbers), reader, writer)
        except (OSError, ValueError, TimeoutError):
            pass  # the worker sees the end of its connection
        except asyncio.CancelledError:
            pass  # by `__aexit__`; asyncio before Python 3.12 would log it
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _connect(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            broker_reader, broker_writer = await asyncio.open_connection(*self._target)
        self._connections[number] = writer, broker_writer
        pumps = [
            asyncio.ensure_future(self._requests(number, reader, broker_writer)),
            asyncio.ensure_future(self._answers(number, broker_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            del self._connections[number]
            broker_writer.close()
            self.deliveries.closed(number)

    async def _requests(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        while data := await source.read(CHUNK_BYTES):
            for frame in frames.feed(data):
                self.deliveries.from_worker(number, frame)
                if self._hold is not None:
                    self._hold.from_worker((number, frame.channel), frame)
                sink.write(frame.raw)
            await sink.drain()

    async def _answers(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        while data := await source.read(CHUNK_BYTES):
            for frame in frames.feed(data):
                self.deliveries.to_worker(number, frame)
                if self._hold is not None and self._hold.takes((number, frame.channel), frame):
                    self._held.append((sink, frame.raw))
                else:
                    sink.write(frame.raw)
            await sink.drain()
