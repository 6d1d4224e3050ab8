"""Answers of many short lines hold neither the event loop nor the answers of other endpoints."""

import asyncio
from typing import Any, Final, cast

import httpcore
import pytest
from typing_extensions import override

from taskqueue_operator.rabbitmq.http_stream import HttpStream
from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.rabbitmq.pace import Pace, work_turns
from taskqueue_operator.rabbitmq.paced_stream import PacedStream
from taskqueue_operator.rabbitmq.turns import Turns
from taskqueue_operator.resource import bounds

from .fake_amqp import ENDPOINT

pytestmark = pytest.mark.looptime

READ_BYTES: Final = 1 << 16
SMALL_CHUNKS: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000
INFORMATIONAL: Final = b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000

WRITTEN: Final = b"HTTP/1.1 201 Created\r\n" + b"name: value\r\n" * 10 + b"\r\n"
OBJECTS: Final = 8
"""Objects of a TaskQueue, with the binding of its retries."""


class Peer(httpcore.AsyncNetworkStream):
    """Sends an answer again and again, as fast as it is read."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._at = 0

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        read = self._answer[self._at : self._at + max_bytes]
        self._at = (self._at + len(read)) % len(self._answer)
        return read

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None: ...

    @override
    async def aclose(self) -> None: ...

    @override
    async def start_tls(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        return self

    @override
    def get_extra_info(self, info: str) -> Any:
        return None


def paced(answer: bytes, turns: Turns | None = None) -> PacedStream:
    return PacedStream(Peer(answer), Pace(turns or work_turns(bounds.HTTP_WORK_PER_SECOND), "media"))


async def seconds(stream: httpcore.AsyncNetworkStream, length: int) -> float:
    """Return how long it takes to read so many bytes."""
    began = asyncio.get_running_loop().time()
    while length > 0:
        length -= len(await stream.read(READ_BYTES))
    return asyncio.get_running_loop().time() - began


async def test_an_answer_arrives_in_pieces_of_few_lines_and_is_whole() -> None:
    stream, received = paced(SMALL_CHUNKS), b""
    while len(received) < READ_BYTES:
        piece = await stream.read(READ_BYTES)
        assert piece.count(b"\n") <= bounds.LINES_PER_PIECE
        received += piece
    assert received == SMALL_CHUNKS[: len(received)]
    assert await paced(b'[{"name":"jobs"}]').read(READ_BYTES) == b'[{"name":"jobs"}]'


async def test_a_large_listing_of_few_lines_does_not_wait() -> None:
    assert await seconds(paced(b"x" * READ_BYTES), 12 << 20) == 0


@pytest.mark.parametrize("answer", [SMALL_CHUNKS, INFORMATIONAL])
async def test_answers_of_many_lines_are_read_slowly_and_delay_no_other_answer(answer: bytes) -> None:
    turns = work_turns(bounds.HTTP_WORK_PER_SECOND)
    floods = [asyncio.create_task(seconds(paced(answer, turns), 1 << 30)) for _ in range(20)]
    await asyncio.sleep(10)
    assert await seconds(paced(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * READ_BYTES, turns), 1 << 20) == 0
    for flood in floods:
        flood.cancel()


@pytest.mark.parametrize("tls", [False, True])
async def test_every_stream_of_the_http_library_is_paced(tls: bool) -> None:  # noqa: FBT001  a parameter of the test
    stream: httpcore.AsyncNetworkStream = paced(SMALL_CHUNKS)
    stream = await stream.start_tls(cast("Any", None)) if tls else stream
    lines = bounds.WORK_LINES * (bounds.PEER_WORK_AT_ONCE + 10 * bounds.HTTP_WORK_PER_SECOND)
    assert await seconds(stream, 3 * lines) > 5


async def test_an_answer_that_arrives_byte_by_byte_is_read_slowly() -> None:
    stream, received = paced(b"x" * READ_BYTES), 0
    began = asyncio.get_running_loop().time()
    while received < bounds.PEER_WORK_AT_ONCE + 10 * bounds.HTTP_WORK_PER_SECOND:
        received += len(await stream.read(1))
    assert asyncio.get_running_loop().time() - began > 5


async def test_the_answers_to_the_declaration_of_1000_taskqueues_are_read_within_half_a_minute() -> None:
    stream = paced(WRITTEN)
    began = asyncio.get_running_loop().time()
    for _ in range(1000 * OBJECTS):
        await stream.read(READ_BYTES)
    assert asyncio.get_running_loop().time() - began < 30


async def test_an_idle_connection_with_something_to_read_is_readable() -> None:
    stream = paced(SMALL_CHUNKS)
    assert not stream.get_extra_info("is_readable")
    await stream.read(READ_BYTES)
    assert stream.get_extra_info("is_readable")


async def test_the_connections_of_a_network_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> httpcore.AsyncNetworkStream:
        return Peer(INFORMATIONAL)

    monkeypatch.setattr(HttpStream, "open", connect)
    pool = Network().http(ENDPOINT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await pool.request("GET", "http://127.0.0.1/")
