"""One AMQP connection that asks for depths, many at a time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from pamqp import base, commands, frame
from pamqp.heartbeat import Heartbeat

from . import frames as wire
from .endpoint import Endpoint
from .handshake import handshake

CLOSE_SECONDS: Final = 3.0
CHUNK: Final = 1 << 16
"""Bytes that are read at a time: some 1,500 answers, which take a few milliseconds."""


class ProbeBatch:
    """Questions on one channel, which the broker answers in their order.

    Attributes:
        left: Queues without an answer as yet; the first one holds up the others.
        ready: Messages by queue, as answered.
        refusal: Code and words of the broker if it refused to answer for the first of `left`; all are dropped then.
        done: There will be no more answers.
    """

    __slots__ = ("done", "left", "ready", "refusal")

    def __init__(self, queues: Sequence[str]) -> None:
        self.left = deque(queues)
        self.ready: dict[str, int] = {}
        self.refusal: tuple[int, str] | None = None
        self.done = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """There will be no more answers."""
        if not self.done.done():
            self.done.set_result(None)


class ProbeConnection:
    """Asks, on as many channels as there are questions under way; reads and beats by itself until closed or lost."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, terms: commands.Connection.TuneOk
    ) -> None:
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._terms = terms
        self._asked: dict[int, ProbeBatch] = {}
        self._idle: list[int] = []
        self._opened = 0
        self._reading = asyncio.create_task(self._read(), name="read answers")
        self._beating = asyncio.create_task(self._beat(), name="heartbeats")

    @classmethod
    async def open(cls, endpoint: Endpoint, name: str) -> Self:
        """Connect. The caller sets the timeout.

        Raises:
            BrokerFault: The broker refuses the user or the vhost.
            OSError, EOFError: It cannot be reached, or is no broker.
        """
        context = endpoint.trust() if endpoint.tls else None
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context)
        try:
            return cls(reader, writer, await handshake(reader, writer, endpoint, name))
        except BaseException:
            writer.transport.abort()
            raise

    def ask(self, queues: Sequence[str]) -> ProbeBatch:
        """Ask for the ready count of queues, on a channel of their own and in one write; no answer if closed."""
        asked = ProbeBatch(queues)
        channel = None if self.closed else self._channel()
        if channel is not None:
            self._asked[channel] = asked
            self._send(wire.questions(channel, queues))
        if self.closed:
            asked.end()
        return asked

    async def close(self) -> None:
        """Take leave, or just go if that takes too long."""
        try:
            if not self.closed:
                self._write(0, commands.Connection.Close(200, "", 0, 0))
                await asyncio.wait([self._reading], timeout=CLOSE_SECONDS)
        finally:
            self.abort()

    def abort(self) -> None:
        """Go without a word; who waits for answers learns that there will be none."""
        self._end()
        self._reading.cancel()

    def _channel(self) -> int | None:
        """Give a channel without questions, or open one; none if each has a queue that does not answer."""
        if self._idle:
            return self._idle.pop()
        if self._opened == self._terms.channel_max:
            self._end()
            return None
        self._opened += 1
        # Nobody waits for it to be open: the broker takes everything in order.
        self._write(self._opened, commands.Channel.Open())
        return self._opened

    async def _read(self) -> None:
        data = b""
        # Whatever is wrong, it is the end of this connection; those who wait learn of it by having no answer.
        try:
            with contextlib.suppress(OSError):
                while not self.closed:
                    async with asyncio.timeout(2 * self._terms.heartbeat):
                        chunk = await self._reader.read(CHUNK)
                    if not chunk:
                        break
                    data = self._take(data + chunk)
        finally:
            self._end()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._terms.heartbeat / 2)
            self._send(Heartbeat().marshal())

    def _take(self, data: bytes) -> bytes:
        """Take in all complete frames and return what is left."""
        taken = 0
        for kind, channel, begin, end in wire.frames(data):
            if kind == wire.METHOD and data.startswith(wire.DECLARE_OK, begin):
                self._answered(channel, *wire.answer(data, begin, end))
            elif kind == wire.METHOD:
                self._told(channel, wire.method(data[begin:end]))
            taken = end + 1
        return data[taken:]

    def _answered(self, channel: int, name: bytes, ready: int) -> None:
        asked = self._asked.get(channel)
        if asked is None or asked.left[0].encode() != name:
            raise wire.NotAmqp  # never to be taken for the answer of another queue
        asked.ready[asked.left.popleft()] = ready
        if not asked.left:
            self._settle(channel)

    def _told(self, channel: int, method: base.Frame) -> None:
        if isinstance(method, commands.Channel.Close):
            self._write(channel, commands.Channel.CloseOk())
            self._write(channel, commands.Channel.Open())
            if channel in self._asked:
                self._asked[channel].refusal = method.reply_code or 0, method.reply_text
                self._settle(channel)
        elif isinstance(method, commands.Connection.Close):
            self._write(0, commands.Connection.CloseOk())
            self._end()
        elif isinstance(method, commands.Connection.CloseOk):
            self._end()

    def _settle(self, channel: int) -> None:
        self._idle.append(channel)
        self._asked.pop(channel).end()

    def _write(self, channel: int, method: base.Frame) -> None:
        self._send(frame.marshal(method, channel))

    def _send(self, data: bytes) -> None:
        """Write, unless this is the end: between a loss and the moment it is read, uvloop raises RuntimeError."""
        if self.closed:
            return
        try:
            if not self._writer.is_closing():
                self._writer.write(data)
                return
        except (RuntimeError, OSError):
            pass  # what it says is that the connection is lost, and not why
        self._end()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._beating.cancel()
        self._writer.transport.abort()
        for asked in self._asked.values():
            asked.end()
        self._asked.clear()
