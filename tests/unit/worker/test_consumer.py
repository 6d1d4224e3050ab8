"""When a consumer is cancelled for certain, in virtual time."""

import asyncio
from typing import cast

import pytest
from aio_pika.abc import AbstractChannel

from taskqueue_worker.amqp.connection import Connection
from taskqueue_worker.amqp.delivery_stream import Receive
from taskqueue_worker.consumer import Consumer
from taskqueue_worker.delivery import Delivery
from tests.unit.worker.messages import FakeChannel as MessageChannel
from tests.unit.worker.messages import message

pytestmark = pytest.mark.looptime


class FakeChannel:
    """The used part of a connection, a channel of aio-pika and the one below it: each call takes a second."""

    def __init__(self) -> None:
        self.number = 1
        self.is_open = True
        self.is_closed = False
        self.calls: list[str] = []
        self.fault: BaseException | None = None
        self.on_message: Receive | None = None
        self.deliveries = self

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    def deliver(self, _: int, __: object, receive: Receive, ___: object) -> None:
        self.on_message = receive

    def forget(self, receive: Receive) -> None:
        assert receive == self.on_message
        self.on_message = None

    async def basic_consume(self, *_: object, **__: object) -> None: ...

    async def basic_cancel(self, _: str) -> None:
        await self._reply("cancel")

    async def set_qos(self, **_: object) -> None:
        await self._reply("qos")

    async def _reply(self, call: str) -> None:
        await asyncio.sleep(1)
        if self.fault is not None:
            raise self.fault
        self.calls.append(call)


class ConsumerHarness:
    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.state_changed = asyncio.Event()
        self.consumer = Consumer(
            cast("Connection", self.channel), cast("AbstractChannel", self.channel), "q", "tag", 1, self.state_changed
        )
        self.received: list[Delivery] = []

    def deliver(self) -> list[str]:
        """Deliver a message whose settlement takes half a second; return how it is settled."""
        delivered = message()
        channel = cast("MessageChannel", delivered.channel)
        channel.fault = 0.5
        assert self.channel.on_message is not None
        self.channel.on_message(delivered)
        return channel.settled


@pytest.fixture
async def harness() -> ConsumerHarness:
    harness = ConsumerHarness()
    await harness.consumer.start(harness.received.append, {})
    return harness


async def test_a_consumer_is_cancelled_for_certain_when_the_call_after_the_cancel_is_answered(
    harness: ConsumerHarness,
) -> None:
    harness.deliver()
    await harness.consumer.cancel()
    assert not harness.consumer.cancelled_for_certain.is_set()
    await harness.consumer.make_certain()
    assert harness.channel.calls == ["cancel", "qos"]
    assert harness.consumer.cancelled_for_certain.is_set()
    assert harness.state_changed.is_set()
    assert len(harness.received) == 1


async def test_a_stray_delivery_is_requeued_and_the_cancel_is_uncertain_until_then(harness: ConsumerHarness) -> None:
    await harness.consumer.cancel()
    await harness.consumer.make_certain()
    settled = harness.deliver()
    assert not harness.consumer.cancelled_for_certain.is_set()
    await harness.consumer.cancelled_for_certain.wait()
    assert settled == ["nack requeue=True"]
    assert harness.received == []
    assert harness.channel.calls == ["cancel", "qos", "qos"]
    assert harness.consumer.cancelled_for_certain.is_set()


async def test_an_answer_to_a_call_from_before_a_stray_delivery_makes_nothing_certain(harness: ConsumerHarness) -> None:
    await harness.consumer.cancel()
    certain = asyncio.ensure_future(harness.consumer.make_certain())
    await asyncio.sleep(0.75)
    harness.deliver()
    await certain
    assert not harness.consumer.cancelled_for_certain.is_set()
    await asyncio.sleep(2)
    assert harness.consumer.cancelled_for_certain.is_set()


@pytest.mark.parametrize("fault", [RuntimeError("closed"), ConnectionResetError(), asyncio.CancelledError()])
async def test_without_an_answer_a_consumer_is_cancelled_for_certain_when_its_channel_closes(
    harness: ConsumerHarness, fault: BaseException
) -> None:
    harness.channel.fault = fault
    await harness.consumer.cancel()
    await harness.consumer.make_certain()
    assert not harness.consumer.cancelled_for_certain.is_set()
    harness.consumer.on_channel_closed()
    assert harness.consumer.cancelled_for_certain.is_set()
    assert harness.consumer.ended.is_set()


async def test_on_a_closed_channel_a_consumer_is_cancelled_for_certain_without_a_call(harness: ConsumerHarness) -> None:
    harness.channel.is_closed = True
    await harness.consumer.cancel()
    await harness.consumer.make_certain()
    assert harness.channel.calls == []
    assert harness.consumer.cancelled_for_certain.is_set()


async def test_a_message_that_cannot_be_received_does_not_end_the_connection(harness: ConsumerHarness) -> None:
    def refuse(_: Delivery) -> None:
        raise LookupError

    await harness.consumer.start(refuse, {})
    assert harness.deliver() == []
