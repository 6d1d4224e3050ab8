"""Connections of the HTTP library over streams of asyncio, with a real server on the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import pytest

from taskqueue_operator.rabbitmq.http_stream import HttpStream
from tests.cluster.certificates import Authority

HOST = "127.0.0.1"


class Peer:
    """Accepts one connection."""

    def __init__(self) -> None:
        self.accepted = asyncio.get_running_loop().create_future()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set_result((reader, writer))


@asynccontextmanager
async def connected(
    server: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[HttpStream, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection, and the reader and the writer of its peer."""
    peer = Peer()
    async with await asyncio.start_server(peer.accept, HOST, 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        stream = await HttpStream.open(HOST, port, client, HOST)
        reader, writer = await peer.accepted
        try:
            yield stream, reader, writer
        finally:
            await stream.aclose()
            writer.transport.abort()


async def ask(stream: HttpStream) -> None:
    """Ask until the connection is lost."""
    while True:
        await stream.write(b"question")
        await stream.read(100, timeout=1)


async def fill(stream: HttpStream) -> None:
    """Write until the peer takes no more."""
    while True:
        await stream.write(bytes(1 << 20), timeout=0.1)


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = Authority(directory)
    certificate = authority.issue("broker", "broker", hosts=[HOST])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return server, ssl.create_default_context(cafile=authority.certificate_file)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_bytes_go_both_ways(scheme: str, tmp_path: Path) -> None:
    async with connected(*contexts(tmp_path) if scheme == "https" else ()) as (stream, reader, writer):
        assert (stream.get_extra_info("ssl_object") is not None) == (scheme == "https")
        await stream.write(b"question")
        assert await reader.readexactly(8) == b"question"
        assert not stream.get_extra_info("is_readable")
        writer.write(b"answer")
        assert await stream.read(3) == b"ans"
        assert stream.get_extra_info("is_readable")
        assert await stream.read(100) == b"wer"
        assert not stream.get_extra_info("is_readable"), "an idle connection can be used again"


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    peer = Peer()
    async with await asyncio.start_server(peer.accept, HOST, 0, ssl=server) as listening:
        with pytest.raises(ssl.SSLCertVerificationError):
            await HttpStream.open(HOST, listening.sockets[0].getsockname()[1], client, "other.example")


async def test_an_idle_connection_that_the_peer_closes_is_readable() -> None:
    async with connected() as (stream, _, writer):
        writer.close()
        assert await stream.read(100) == b""
        assert stream.get_extra_info("is_readable")


async def test_a_peer_that_sends_nothing_in_time_is_an_error_of_the_library() -> None:
    async with connected() as (stream, _, _):
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(100, timeout=0.01)


async def test_a_lost_connection_is_an_error_of_the_library() -> None:
    async with connected() as (stream, _, writer):
        writer.transport.abort()
        with pytest.raises((httpcore.ReadError, httpcore.WriteError)):
            await ask(stream)


async def test_a_peer_that_does_not_read_is_an_error_of_the_library() -> None:
    async with connected() as (stream, _, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads and writes
        with pytest.raises(httpcore.WriteTimeout):
            await fill(stream)
