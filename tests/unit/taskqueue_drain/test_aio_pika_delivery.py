"""The settlement of a message on a channel that the test closes or stops."""

import asyncio
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_drain.aio_pika.delivery import SETTLE_TIMEOUT_SECONDS, Delivery

pytestmark = pytest.mark.looptime


class FakeChannel:
    """As aiormq's channel before version 7, which sends on a closed one too."""

    def __init__(self) -> None:
        self.is_closed = False
        self.calls: list[str] = []
        self.writable = asyncio.Event()
        self.writable.set()

    async def basic_ack(self, delivery_tag: int, **_: object) -> None:
        self.calls.append(f"ack {delivery_tag}")
        await self.writable.wait()

    async def basic_reject(self, delivery_tag: int, *, requeue: bool) -> None:
        self.calls.append(f"reject {delivery_tag} {requeue}")

    async def basic_nack(self, delivery_tag: int, *, requeue: bool) -> None:
        self.calls.append(f"nack {delivery_tag} {requeue}")


@pytest.fixture
async def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
async def delivery(channel: FakeChannel) -> Delivery:
    deliver, header = Basic.Deliver("tag", 7, redelivered=False), ContentHeader(properties=Basic.Properties())
    aiormq_channel: Any = channel
    return Delivery(DeliveredMessage(deliver, header, b"body", aiormq_channel), lambda _: True)


async def test_a_message_is_settled_once(delivery: Delivery, channel: FakeChannel) -> None:
    await delivery.reject(requeue=True)
    await delivery.ack()
    await delivery.requeue()
    assert (channel.calls, delivery.is_settled) == (["reject 7 True"], True)


async def test_a_message_that_the_application_has_settled_is_not_settled_again(
    delivery: Delivery, channel: FakeChannel
) -> None:
    await delivery.message.ack()
    await delivery.ack()
    assert (channel.calls, delivery.is_settled) == (["ack 7"], True)


async def test_nothing_is_sent_for_a_message_whose_channel_is_closed(
    delivery: Delivery, channel: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.is_closed = True
    await delivery.ack()
    assert channel.calls == []
    assert "the broker delivers it again" in caplog.text


async def test_a_broker_that_reads_nothing_holds_a_slot_for_the_time_of_a_settlement_only(
    delivery: Delivery, channel: FakeChannel
) -> None:
    channel.writable.clear()
    loop = asyncio.get_running_loop()
    start = loop.time()
    await delivery.ack()
    assert loop.time() - start == SETTLE_TIMEOUT_SECONDS
