"""What the AMQP library reads is bounded, whatever the peer sends."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from taskqueue_operator.rabbitmq import frames
from taskqueue_operator.rabbitmq.bounded_connection import BoundedReader, ReadLimits, Received
from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.resource import bounds

from .fake_amqp import ENDPOINT

pytestmark = pytest.mark.looptime

DELIVER = frame.marshal(commands.Basic.Deliver("tag", 1, False, "taskqueue.reports", "media/jobs"), 1)

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def message(size: int, properties: commands.Basic.Properties | None = None, *, part: int = 100_000) -> bytes:
    """Encode the header and the body of a message."""
    header = frame.marshal(ContentHeader(0, size, properties or commands.Basic.Properties(reply_to="x")), 1)
    parts = [min(part, size - begin) for begin in range(0, size, part)]
    return DELIVER + header + b"".join(frame.marshal(ContentBody(b"x" * length), 1) for length in parts)


def nested(depth: int) -> bytes:
    """Encode a content header whose table of headers contains a table, and so on."""
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    properties = (1 << 13).to_bytes(2, "big") + len(table).to_bytes(4, "big") + table
    payload = bytes([0, 60, 0, 0]) + (0).to_bytes(8, "big") + properties
    return frames.HEADER.pack(2, 1, len(payload)) + payload + b"\xce"


async def read(data: bytes, limits: ReadLimits = ReadLimits(), received: Received | None = None) -> list[Any]:  # noqa: B008  frozen
    """Read everything as the library does, and decode it; the list ends with the error that ended it."""
    stream = asyncio.StreamReader(limit=1 << 30)
    stream.feed_data(data)
    stream.feed_eof()
    reader, found = BoundedReader(stream, Network().amqp_pace(ENDPOINT), limits, received), list[Any]()
    try:
        while not reader.at_eof():
            whole = await reader.readexactly(1) + await reader.readexactly(6)
            whole += await reader.readexactly(int.from_bytes(whole[3:7], "big") + 1)
            found.append(frame.unmarshal(whole)[2])
    except (frames.NotAmqp, asyncio.IncompleteReadError) as error:
        found.append(error)
    return found


async def test_a_report_arrives_as_it_was_sent() -> None:
    _, header, body = await read(message(600))
    assert (header.body_size, header.properties.reply_to, body.value) == (600, "x", b"x" * 600)


@pytest.mark.parametrize("part", [1000, 65_536, 100_000])
async def test_of_a_long_message_the_beginning_arrives_and_the_next_one_as_it_was_sent(part: int) -> None:
    deliver, header, *bodies, _, following, body = await read(message(4 * 1024 * 1024, part=part) + message(5))
    assert isinstance(deliver, commands.Basic.Deliver)
    assert (header.body_size, header.properties.reply_to) == (bounds.AMQP_BODY_BYTES, "x")
    assert sum(len(beginning.value) for beginning in bodies) == bounds.AMQP_BODY_BYTES
    assert (following.body_size, body.value) == (5, b"xxxxx")


async def test_a_message_with_tables_within_tables_arrives_without_properties() -> None:
    deliver, header, *rest = await read(DELIVER + nested(15_000) + message(5))
    assert isinstance(deliver, commands.Basic.Deliver)
    assert header.properties.reply_to is None
    assert len(rest) == 3


async def test_a_long_frame_ends_the_connection_before_it_is_read() -> None:
    header = frames.HEADER.pack(3, 1, (1 << 32) - 1)
    (error,) = await read(header + bytes(100))
    assert isinstance(error, frames.NotAmqp)


@pytest.mark.parametrize("sent", [message(24 * 1024 * 1024), HEARTBEAT * 8000])
async def test_a_peer_that_sends_without_end_is_read_at_a_limited_rate(sent: bytes) -> None:
    started = asyncio.get_running_loop().time()
    await read(sent)
    assert 0.2 <= asyncio.get_running_loop().time() - started <= 10


async def test_other_tasks_run_while_a_peer_sends_without_end() -> None:
    reading, turns = asyncio.create_task(read(HEARTBEAT * bounds.PEER_WORK_AT_ONCE)), 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= bounds.PEER_WORK_AT_ONCE / bounds.WORK_PER_STRETCH


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from(
                [
                    DELIVER,
                    message(5),
                    nested(3),
                    HEARTBEAT,
                    b"AMQP\x00\x00\x09\x01",
                    b"\x02",
                    b"\xce",
                ]
            )
        ).map(b"".join),
    ),
    st.integers(0, 400),
    st.binary(max_size=8),
)
async def test_any_bytes_are_frames_or_end_the_connection(data: bytes, at: int, noise: bytes) -> None:
    await read(data[:at] + noise + data[at:])
