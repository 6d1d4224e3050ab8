"""The server's side of one AMQP connection: probes, and the control protocol."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final, TypeVar

from pamqp import base, commands, frame
from pamqp.body import ContentBody
from pamqp.common import FieldTable
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

Method = TypeVar("Method", bound=base.Frame)
OnCommand = Callable[[str, bytes], None]
"""Receives the address of a worker, and a command to it."""

EXCHANGE: Final = "taskqueue.reports"
QUEUE: Final = "amq.gen-played"
"""Where the operator receives reports."""
CAPABILITIES: Final = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True}
REPLIES: Final[Mapping[type, type[base.Frame]]] = {
    commands.Channel.Open: commands.Channel.OpenOk,
    commands.Channel.Close: commands.Channel.CloseOk,
    commands.Exchange.Declare: commands.Exchange.DeclareOk,
    commands.Queue.Bind: commands.Queue.BindOk,
    commands.Queue.Unbind: commands.Queue.UnbindOk,
    commands.Basic.Qos: commands.Basic.QosOk,
}


class AmqpConnection:
    """Answers what the operator asks; every queue exists and is empty.

    Attributes:
        bound: The routing keys of the reports that it delivers.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_command: OnCommand) -> None:
        self._reader = reader
        self._writer = writer
        self._on_command = on_command
        self._consumer: tuple[int, str] | None = None
        self.bound: set[str] = set()
        self._tags = count(1)
        self._address = ""

    async def open(self, capabilities: Mapping[str, bool] = CAPABILITIES) -> str:
        """Do the handshake; returns the vhost."""
        await self._reader.readexactly(8)
        properties: FieldTable = {"capabilities": dict(capabilities)} if capabilities else {}
        self._send(0, commands.Connection.Start(0, 9, properties, "PLAIN", "en_US"))
        await self._expect(commands.Connection.StartOk)
        self._send(0, commands.Connection.Tune(2047, 131072, 60))
        await self._expect(commands.Connection.TuneOk)
        opened = await self._expect(commands.Connection.Open)
        self._send(0, commands.Connection.OpenOk())
        return str(opened.virtual_host)

    async def serve(self) -> None:
        """Answer until the connection ends."""
        while True:
            channel, found = await self._read()
            if isinstance(found, commands.Connection.Close):
                self._send(0, commands.Connection.CloseOk())
                return
            self._answer(channel, found)
            await self._writer.drain()

    def deliver(self, routing_key: str, report: bytes, reply_to: str) -> None:
        """Deliver a report, if this connection consumes those of its TaskQueue."""
        if self._consumer is None or routing_key not in self.bound or self._writer.is_closing():
            return
        channel, tag = self._consumer
        properties = commands.Basic.Properties(reply_to=reply_to)
        self._send(channel, commands.Basic.Deliver(tag, next(self._tags), False, EXCHANGE, routing_key))
        self._writer.write(frame.marshal(ContentHeader(0, len(report), properties), channel))
        self._writer.write(frame.marshal(ContentBody(report), channel))

    def abort(self) -> None:
        """Close the socket."""
        self._writer.transport.abort()

    def _answer(self, channel: int, found: object) -> None:
        reply = REPLIES.get(type(found))
        if reply is not None:
            self._send(channel, reply())
        match found:
            case Heartbeat():
                self._writer.write(Heartbeat().marshal())
            case commands.Queue.Declare(queue=name):
                self._send(channel, commands.Queue.DeclareOk(name or QUEUE, 0, 0))
            case commands.Queue.Bind(routing_key=name):
                self.bound.add(name)
            case commands.Queue.Unbind(routing_key=name):
                self.bound.discard(name)
            case commands.Basic.Consume(consumer_tag=tag):
                self._consumer = channel, tag or "played"
                self._send(channel, commands.Basic.ConsumeOk(self._consumer[1]))
            case _:
                self._receive(found)

    def _receive(self, found: object) -> None:
        match found:
            case commands.Basic.Publish(routing_key=address):
                self._address = address
            case ContentBody(value=body):
                self._on_command(self._address, body)
            case _:
                pass  # acknowledgements and the headers of messages

    def _send(self, channel: int, method: base.Frame) -> None:
        self._writer.write(frame.marshal(method, channel))

    async def _expect(self, method: type[Method]) -> Method:
        while not isinstance(found := (await self._read())[1], method):
            pass
        return found

    async def _read(self) -> tuple[int, object]:
        header = await self._reader.readexactly(7)
        payload = await self._reader.readexactly(int.from_bytes(header[3:7], "big") + 1)
        _, channel, found = frame.unmarshal(header + payload)
        return channel, found
