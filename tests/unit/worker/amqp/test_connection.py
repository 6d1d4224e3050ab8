"""What the AMQP library reads of a connection."""

import asyncio
from typing import cast

import pytest
from aiormq.abc import AbstractChannel
from pamqp import frame
from pamqp.heartbeat import Heartbeat

from taskqueue_worker.amqp.connection import SIGN_OF_LIFE_SECONDS, _Reader
from taskqueue_worker.amqp.delivery_stream import DeliveryStream
from tests.unit.worker.amqp.frames import delivered

HEARTBEAT = frame.marshal(Heartbeat(), 0)


def reader_of_deliveries() -> _Reader:
    stream = DeliveryStream()
    stream.deliver(1, cast("AbstractChannel", None), lambda _: None)
    return _Reader(stream, asyncio.get_running_loop())


@pytest.mark.looptime
async def test_while_only_deliveries_arrive_the_library_does_not_take_the_connection_for_dead() -> None:
    reader = reader_of_deliveries()
    for tag in range(1, 11):
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS / 2)
        reader.feed_data(delivered(tag, b"body"))
    reader.feed_eof()
    assert await reader.read() == 5 * HEARTBEAT


async def test_the_library_reads_all_but_deliveries_and_the_end() -> None:
    reader = reader_of_deliveries()
    reader.feed_data(HEARTBEAT + delivered(1, b"body") + HEARTBEAT[:3])
    reader.feed_eof()
    reader.feed_eof()
    assert await reader.read() == HEARTBEAT + HEARTBEAT[:3]
