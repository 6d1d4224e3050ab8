"""Servers on the loopback that answer as no RabbitMQ does: too long, too slowly, compressed, nested, or not at all.

`python -m tests.integration.rabbitmq.hostile_servers` runs all of them, prints their ports as JSON, and ends with its
standard input. So what they need is not counted as memory of the test.
"""

import asyncio
import gzip
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_START: Final = b"\x01\x00\x00"
MIB: Final = 1 << 20


async def _request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def _huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 300 MiB of JSON."""
    await _request(reader)
    writer.write(_HEAD + f"Content-Length: {300 * MIB}\r\n\r\n".encode() + b'[{"name":"')
    for _ in range(300):
        writer.write(b"x" * MIB)
        await writer.drain()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send one byte after the other."""
    await _request(reader)
    writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.2)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, head: bytes = b"") -> None:
    while True:
        await _request(reader)
        writer.write(_HEAD + head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()


_BOMB: Final = gzip.compress(b" " * 64 * MIB, 9)


async def _bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 64 MiB of blanks, compressed, although the client did not ask for it."""
    await _answer(reader, writer, _BOMB, b"Content-Encoding: gzip\r\n")


async def _nested(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _answer(reader, writer, b"[" * 1000 + b"]" * 1000)


async def _small_objects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 30 MiB that would take 700 MiB as objects."""
    await _answer(reader, writer, b"[" + b"{}," * (10 * MIB) + b"{}]")


async def _wrong_types(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _answer(reader, writer, b'[{"name":["x"],"messages_ready":-1e308,"state":7},5,null]')


async def _small_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body in chunks of one byte, as fast as they are read."""
    await _request(reader)
    writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n" * 8192)
        await writer.drain()


async def _informational(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing but informational answers, as fast as they are read."""
    await _request(reader)
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 8192)
        await writer.drain()


async def _close(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Accept and close."""


async def _silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _long_frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce a frame of 4 GiB, and send it."""
    await reader.readexactly(8)
    writer.write(_START + b"\xff\xff\xff\xff" + b"\x00\x0a\x00\x0a\x00\x09")
    while True:
        writer.write(b"x" * MIB)
        await writer.drain()


async def _nested_table(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a Connection.Start with server properties within server properties."""
    await reader.readexactly(8)
    table = b""
    for _ in range(15_000):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    payload = b"\x00\x0a\x00\x0a\x00\x09" + len(table).to_bytes(4, "big") + table + bytes(8)
    writer.write(_START + len(payload).to_bytes(4, "big") + payload + b"\xce")
    await writer.drain()
    await asyncio.Event().wait()


async def _heartbeats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing but heartbeats, as fast as they are read."""
    await reader.readexactly(8)
    while True:
        writer.write(b"\x08\x00\x00\x00\x00\x00\x00\xce" * 8192)
        await writer.drain()


MANAGEMENT: Final[Mapping[str, Serve]] = {
    "huge": _huge,
    "drip": _drip,
    "bomb": _bomb,
    "nested": _nested,
    "small objects": _small_objects,
    "wrong types": _wrong_types,
    "small chunks": _small_chunks,
    "informational": _informational,
    "close": _close,
    "silent": _silent,
}
AMQP: Final[Mapping[str, Serve]] = {
    "long frame": _long_frame,
    "nested table": _nested_table,
    "heartbeats": _heartbeats,
    "close": _close,
    "silent": _silent,
    "drip": _drip,
}


class HostileServers:
    """The ports of the running servers, and how often each was connected to."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.connects: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()

    def handler(self, name: str, serve: Serve) -> Serve:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connects[name] += 1
            if task := asyncio.current_task():
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            try:
                await serve(reader, writer)
            except (OSError, EOFError):
                pass  # the client has left
            finally:
                writer.transport.abort()

        return handle

    async def close(self) -> None:
        """End all connections."""
        tasks = [*self.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def hostile(servers: Mapping[str, Serve]) -> AsyncIterator[HostileServers]:
    """Run servers within the context."""
    made = HostileServers()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.close)
        for name, serve in servers.items():
            server = await asyncio.start_server(made.handler(name, serve), "127.0.0.1", 0)
            stack.callback(server.close)
            made.ports[name] = server.sockets[0].getsockname()[1]
        yield made


@asynccontextmanager
async def hostile_process() -> AsyncIterator[Mapping[str, Mapping[str, int]]]:
    """Run all servers in a process of their own; returns the ports by kind, `http` and `amqp`, and name."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def _run() -> None:
    async with hostile(MANAGEMENT) as http, hostile(AMQP) as amqp:
        print(json.dumps({"http": http.ports, "amqp": amqp.ports}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run())
