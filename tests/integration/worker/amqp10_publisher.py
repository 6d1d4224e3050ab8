"""Publishes messages over AMQP 1.0, whose properties RabbitMQ checks less than those of AMQP 0-9-1."""

import asyncio
import struct
from typing import Final
from urllib.parse import urlsplit

_NULL: Final = b"\x40"
_FALSE: Final = b"\x42"
_ZERO: Final = b"\x43"
_SASL: Final = b"AMQP\x03\x01\x00\x00"
_AMQP: Final = b"AMQP\x00\x01\x00\x00"


def _binary(value: bytes, code: bytes = b"\xb0") -> bytes:
    return code + struct.pack(">I", len(value)) + value


def _text(value: str) -> bytes:
    return _binary(value.encode(), b"\xb1")


def _symbol(value: str) -> bytes:
    return _binary(value.encode(), b"\xb3")


def _number(value: int) -> bytes:
    return b"\x70" + struct.pack(">I", value)


def _section(code: int, *items: bytes) -> bytes:
    body = b"".join(items)
    return b"\x00\x53" + bytes([code]) + b"\xd0" + struct.pack(">II", len(body) + 4, len(items)) + body


async def publish_over_amqp_10(url: str, queue: str, *, type_: str, reply_to: str, body: bytes = b"{}") -> None:
    """Publish a message to a queue, and return when the broker has confirmed it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def receive() -> bytes:
        size, offset, *_ = struct.unpack(">IBBH", await reader.readexactly(8))
        return (await reader.readexactly(size - 8))[4 * offset - 8 :]

    def send(payload: bytes, kind: int = 0) -> None:
        writer.write(struct.pack(">IBBH", len(payload) + 8, 2, kind, 0) + payload)

    writer.write(_SASL)
    await reader.readexactly(len(_SASL))
    await receive()
    send(_section(0x41, _symbol("PLAIN"), _binary(b"\0guest\0guest")), kind=1)
    await receive()
    writer.write(_AMQP)
    await reader.readexactly(len(_AMQP))
    send(_section(0x10, _text("publisher"), _text("vhost:/"), _number(65536)))
    await receive()
    send(_section(0x11, _NULL, _ZERO, _number(100), _number(100)))
    await receive()
    source, target = _section(0x28, _text("publisher")), _section(0x29, _text(f"/queues/{queue}"))
    send(_section(0x12, _text("link"), _ZERO, _FALSE, _NULL, _NULL, source, target, _NULL, _NULL, _ZERO))
    for _ in ("attach", "flow"):
        await receive()
    properties = _section(0x73, _text("id"), _NULL, _NULL, _text(type_), _text(reply_to))
    message = properties + b"\x00\x53\x75" + _binary(body)
    send(_section(0x14, _ZERO, _ZERO, _binary(b"tag"), _ZERO, _FALSE) + message)
    disposition = await receive()
    assert disposition.startswith(b"\x00\x53\x15"), disposition
    writer.close()
