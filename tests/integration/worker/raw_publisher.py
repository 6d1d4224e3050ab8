"""Publishes messages whose properties no client library would write."""

import asyncio
import struct
from typing import Final
from urllib.parse import urlsplit

from pamqp import commands, frame, header

PERSISTENT: Final = b"\x02"
HEADERS_AND_MODE: Final = 0b0011_0000_0000_0000
HEADERS_MODE_AND_TYPE: Final = 0b0011_0000_0010_0000


def nested_table(levels: int) -> bytes:
    """Return an AMQP table that contains a table, and so on."""
    value = b""
    for _ in range(levels):
        value = b"\x01aF" + struct.pack(">I", len(value)) + value
    return struct.pack(">I", len(value)) + value


def table_with(key: bytes, value: bytes) -> bytes:
    """Return an AMQP table with one entry; `value` begins with its type."""
    entry = bytes([len(key)]) + key + value
    return struct.pack(">I", len(entry)) + entry


async def publish_raw(url: str, queue: str, *, flags: int, properties: bytes, body: bytes = b"{}") -> None:
    """Publish a message to a queue, and return when the broker has read it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def receive(name: str) -> None:
        while True:
            start = await reader.readexactly(7)
            rest = await reader.readexactly(struct.unpack(">I", start[3:])[0] + 1)
            if frame.unmarshal(start + rest)[2].name == name:
                return

    def send(channel: int, method: "frame.FrameTypes") -> None:
        writer.write(frame.marshal(method, channel))

    writer.write(header.ProtocolHeader().marshal())
    await receive("Connection.Start")
    send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
    await receive("Connection.Tune")
    send(0, commands.Connection.TuneOk(2047, 131072, 0))
    send(0, commands.Connection.Open("/"))
    await receive("Connection.OpenOk")
    send(1, commands.Channel.Open())
    await receive("Channel.OpenOk")
    send(1, commands.Confirm.Select())
    await receive("Confirm.SelectOk")
    send(1, commands.Basic.Publish(routing_key=queue))
    content = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
    for kind, payload in ((2, content), (3, body)):
        writer.write(struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce")
    await receive("Basic.Ack")
    send(0, commands.Connection.Close(200, "", 0, 0))
    await receive("Connection.CloseOk")
    writer.close()
