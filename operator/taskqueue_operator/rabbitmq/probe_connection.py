"""One AMQP connection that probes many queues at a time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from pamqp import base, commands, frame
from pamqp.heartbeat import Heartbeat

from . import frames
from .endpoint import Endpoint
from .handshake import handshake
from .network import Network
from .pace import Pace

CLOSE_TIMEOUT_SECONDS: Final = 3.0
READ_SIZE: Final = 1 << 16
"""In bytes: about 1,500 answers, which are processed within a few milliseconds."""


class ProbeBatch:
    """Probes on one channel. The broker answers them in order.

    Attributes:
        pending: Queues without an answer yet; the first of them delays the others.
        ready: Number of ready messages, by queue.
        consumers: Number of consumers, by queue.
        refusal: Reply code and text if the broker refused the first queue of `pending`; then it drops all of them.
        done: Completes when no more answers will come.
    """

    __slots__ = ("consumers", "done", "pending", "ready", "refusal")

    def __init__(self, queues: Sequence[str]) -> None:
        self.pending = deque(queues)
        self.ready: dict[str, int] = {}
        self.consumers: dict[str, int] = {}
        self.refusal: tuple[int, str] | None = None
        self.done = asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        """Complete `done`."""
        if not self.done.done():
            self.done.set_result(None)


class ProbeConnection:
    """Probes on as many channels as there are batches in flight; reads and sends heartbeats until closed or lost."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: commands.Connection.TuneOk,
        pace: Pace,
    ) -> None:
        self.closed = False
        self._pace = pace
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._batches: dict[int, ProbeBatch] = {}
        self._idle_channels: list[int] = []
        self._open_channels = 0
        self._reading = asyncio.create_task(self._read(), name="read answers")
        self._beating = asyncio.create_task(self._send_heartbeats(), name="heartbeats")

    @classmethod
    async def open(cls, network: Network, endpoint: Endpoint, name: str) -> Self:
        """Connect. The caller sets the timeout.

        Raises:
            BrokerFault: The broker refuses the user or the vhost.
            OSError, EOFError: The broker cannot be reached, or the peer is not a broker.
        """
        context = endpoint.ssl_context() if endpoint.tls else None
        reader, writer = await network.open_stream(endpoint, context)
        try:
            limits = await handshake(reader, writer, endpoint, name)
            return cls(reader, writer, limits, network.amqp_pace(endpoint))
        except BaseException:
            writer.transport.abort()
            raise

    def probe(self, queues: Sequence[str]) -> ProbeBatch:
        """Send a passive declare per queue, on a channel of their own; the batch is done at once if closed."""
        batch = ProbeBatch(queues)
        channel = None if self.closed else self._free_channel()
        if channel is not None:
            self._batches[channel] = batch
            self._send(frames.passive_declares(channel, queues))
        if self.closed:
            batch.finish()
        return batch

    async def close(self) -> None:
        """Close the connection; abort it if the broker does not confirm in time."""
        try:
            if not self.closed:
                self._write(0, commands.Connection.Close(200, "", 0, 0))
                await asyncio.wait([self._reading], timeout=CLOSE_TIMEOUT_SECONDS)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the socket without the closing handshake; all batches are done."""
        self._end()
        self._reading.cancel()

    def _free_channel(self) -> int | None:
        """Return an idle channel, or open one; None if all channels are in use, and then the connection ends."""
        if self._idle_channels:
            return self._idle_channels.pop()
        if self._open_channels == self._limits.channel_max:
            self._end()
            return None
        self._open_channels += 1
        # No need to wait for OpenOk: the broker processes a channel in order.
        self._write(self._open_channels, commands.Channel.Open())
        return self._open_channels

    async def _read(self) -> None:
        data = b""
        # Every error ends this connection, and with it all batches.
        try:
            with contextlib.suppress(OSError):
                while not self.closed:
                    async with asyncio.timeout(2 * self._limits.heartbeat):
                        chunk = await self._reader.read(READ_SIZE)
                    if not chunk:
                        break
                    data, unasked = self._process(data + chunk)
                    await self._pace.wait(units=unasked, read=len(chunk))
        finally:
            self._end()

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat / 2)
            self._send(Heartbeat().marshal())

    def _process(self, data: bytes) -> tuple[bytes, int]:
        """Process all complete frames; returns the rest, and the number of frames that are no answers."""
        processed = unasked = 0
        for kind, channel, begin, end in frames.complete_frames(data):
            if kind == frames.METHOD and data.startswith(frames.DECLARE_OK, begin):
                self._on_declare_ok(channel, *frames.parse_declare_ok(data, begin, end))
            else:
                unasked += 1
                if kind == frames.METHOD:
                    self._on_method(channel, frames.parse_method(data[begin:end]))
            processed = end + 1
        return data[processed:], unasked

    def _on_declare_ok(self, channel: int, name: bytes, ready: int, consumers: int) -> None:
        batch = self._batches.get(channel)
        if batch is None or batch.pending[0].encode() != name:
            raise frames.NotAmqp  # so that it is never used as the answer for another queue
        queue = batch.pending.popleft()
        batch.ready[queue], batch.consumers[queue] = ready, consumers
        if not batch.pending:
            self._finish(channel)

    def _on_method(self, channel: int, method: base.Frame) -> None:
        if isinstance(method, commands.Channel.Close):
            self._write(channel, commands.Channel.CloseOk())
            self._write(channel, commands.Channel.Open())
            if channel in self._batches:
                self._batches[channel].refusal = method.reply_code or 0, method.reply_text
                self._finish(channel)
        elif isinstance(method, commands.Connection.Close):
            self._write(0, commands.Connection.CloseOk())
            self._end()
        elif isinstance(method, commands.Connection.CloseOk):
            self._end()

    def _finish(self, channel: int) -> None:
        self._idle_channels.append(channel)
        self._batches.pop(channel).finish()

    def _write(self, channel: int, method: base.Frame) -> None:
        self._send(frame.marshal(method, channel))

    def _send(self, data: bytes) -> None:
        """Write, or end the connection if it is lost: uvloop raises RuntimeError until the loss has been read."""
        if self.closed:
            return
        try:
            if not self._writer.is_closing():
                self._writer.write(data)
                return
        except (RuntimeError, OSError):
            pass  # the connection is lost; the error does not show why
        self._end()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._beating.cancel()
        self._writer.transport.abort()
        for batch in self._batches.values():
            batch.finish()
        self._batches.clear()
