"""A consumer on a channel that answers when the test lets it: faults that a broker does not make on request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq import spec
from aiormq.abc import ConsumerCallback

from taskqueue_drain.aio_pika.consumer import Consumer
from taskqueue_drain.aio_pika.delivery import Delivery


class FakeMessage:
    def __init__(self, channel: "FakeChannel", tag: str) -> None:
        self.channel = channel
        self.consumer_tag = tag
        self.delivery_tag = 1


class FakeChannel:
    """As aiormq's channel, and as aio-pika's around it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.consumers: dict[str, Any] = {}
        self.is_closed = False
        self.closing = asyncio.get_running_loop().create_future()
        self.on_consumer_cancel_callbacks: set[Callable[[Any], None]] = set()
        self.before_flow: Callable[[], Awaitable[None]] | None = None

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    def close(self) -> None:
        self.is_closed = True
        self.closing.set_result(None)

    async def basic_nack(self, tag: int, *, requeue: bool) -> None:
        assert (tag, requeue) == (1, True)
        self.calls.append("nack")

    async def flow(self, *, active: bool) -> None:
        assert active
        if self.before_flow is not None:
            hook, self.before_flow = self.before_flow, None
            await hook()
        if self.is_closed:
            raise ChannelInvalidStateError("closed")
        self.calls.append("flow")


class FakeQueue:
    name = "work"

    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.fault: Exception | None = None
        self._tags = iter("abcdef")

    async def consume(self, receive: ConsumerCallback) -> str:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        tag = next(self._tags)
        self.channel.calls.append(f"consume {tag}")
        self.channel.consumers[tag] = receive
        return tag

    async def cancel(self, tag: str) -> None:
        self.channel.calls.append(f"cancel {tag}")
        self.channel.consumers.pop(tag, None)

    def cancel_by_broker(self, tag: str) -> None:
        self.channel.consumers.pop(tag, None)
        for callback in self.channel.on_consumer_cancel_callbacks:
            callback(spec.Basic.Cancel(consumer_tag=tag))

    async def deliver(self, tag: str) -> None:
        await self.channel.consumers[tag](FakeMessage(self.channel, tag))
        await asyncio.sleep(0)


@pytest.fixture
async def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def begun() -> list[Delivery]:
    return []


@pytest.fixture
async def consumer(queue: FakeQueue, begun: list[Delivery]) -> AsyncIterator[Consumer]:
    async def on_delivery(delivery: Delivery) -> None:
        begun.append(delivery)

    consumer = Consumer(queue, queue.consume, queue.cancel, on_delivery, lambda: None)  # type: ignore[arg-type]  # fakes
    following = asyncio.ensure_future(consumer.follow())
    await _settle()
    yield consumer
    following.cancel()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_is_requeued_after_the_cancel_and_before_the_proof(
    consumer: Consumer, queue: FakeQueue, begun: list[Delivery]
) -> None:
    await queue.deliver("a")
    assert (consumer.is_consuming, consumer.is_quiet, consumer.prefetched) == (True, False, 1)
    consumer.allow(may_consume=False)
    assert not begun[0].take(), "no task starts after stop_consuming returns"
    await _settle()
    assert queue.channel.calls == ["consume a", "cancel a", "nack", "flow"]
    assert (consumer.is_consuming, consumer.is_quiet, consumer.prefetched) == (False, True, 0)


async def test_a_message_that_arrives_after_cancel_ok_is_requeued_and_the_proof_is_repeated(
    consumer: Consumer, queue: FakeQueue, begun: list[Delivery]
) -> None:
    queue.channel.before_flow = lambda: queue.deliver("a")
    consumer.allow(may_consume=False)
    await _settle()
    assert queue.channel.calls == ["consume a", "cancel a", "flow", "cancel a", "nack", "flow"]
    assert consumer.is_quiet
    assert begun == []


async def test_what_was_refused_is_requeued_also_if_the_worker_consumes_again_at_once(
    consumer: Consumer, queue: FakeQueue, begun: list[Delivery]
) -> None:
    await queue.deliver("a")
    consumer.allow(may_consume=False)
    consumer.allow(may_consume=True)
    await _settle()
    assert queue.channel.calls == ["consume a", "nack"]
    assert not begun[0].take()
    assert consumer.is_consuming


async def test_an_undrain_consumes_with_another_tag(consumer: Consumer, queue: FakeQueue) -> None:
    consumer.allow(may_consume=False)
    await _settle()
    consumer.allow(may_consume=True)
    await _settle()
    assert queue.channel.calls == ["consume a", "cancel a", "flow", "consume b"]
    assert (consumer.is_consuming, consumer.is_quiet) == (True, False)


async def test_a_consumer_whose_channel_is_lost_is_quiet(consumer: Consumer, queue: FakeQueue) -> None:
    async def close() -> None:
        queue.channel.close()

    queue.channel.before_flow = close
    consumer.allow(may_consume=False)
    await _settle()
    assert consumer.is_quiet


async def test_the_task_of_a_message_whose_channel_is_lost_does_not_begin(
    consumer: Consumer, queue: FakeQueue, begun: list[Delivery]
) -> None:
    await queue.deliver("a")
    queue.channel.close()
    assert not begun[0].take(), "the broker delivers it again"
    assert consumer.prefetched == 0


async def test_a_message_that_waits_when_its_channel_is_lost_does_not_keep_the_consumer_from_being_quiet(
    consumer: Consumer, queue: FakeQueue
) -> None:
    await queue.deliver("a")
    queue.channel.close()
    consumer.allow(may_consume=False)
    await _settle()
    assert (consumer.is_quiet, consumer.prefetched, queue.channel.calls) == (True, 0, ["consume a"])


async def test_a_retired_consumer_does_not_consume_again(consumer: Consumer, queue: FakeQueue) -> None:
    consumer.retire()
    consumer.allow(may_consume=True)
    await _settle()
    assert queue.channel.calls == ["consume a", "cancel a", "flow"]


async def test_a_consumer_that_the_broker_cancels_consumes_again(consumer: Consumer, queue: FakeQueue) -> None:
    states = []
    for tag in ("other", "a"):
        queue.cancel_by_broker(tag)
        states.append(consumer.is_consuming)
    assert states == [True, False]
    await _settle()
    assert queue.channel.calls == ["consume a", "consume b"]


async def test_a_consumer_whose_channel_is_opened_again_consumes_on_it(consumer: Consumer, queue: FakeQueue) -> None:
    lost, queue.channel = queue.channel, FakeChannel()
    lost.close()
    await asyncio.sleep(0)
    was_consuming = consumer.is_consuming  # the new channel is open, and has no consumer
    await _settle()
    assert (was_consuming, consumer.is_consuming, queue.channel.calls) == (False, True, ["consume b"])


async def test_a_consumer_whose_channel_is_closed_for_good_asks_the_broker_nothing(
    consumer: Consumer, queue: FakeQueue
) -> None:
    queue.channel.close()
    await _settle()
    assert (consumer.is_consuming, queue.channel.calls) == (False, ["consume a"])


async def test_a_drained_consumer_does_not_consume_on_a_further_channel(consumer: Consumer, queue: FakeQueue) -> None:
    lost, queue.channel = queue.channel, FakeChannel()
    consumer.allow(may_consume=False)
    lost.close()
    await _settle()
    assert consumer.is_quiet
    assert "consume b" not in queue.channel.calls


async def test_a_consumer_that_began_on_a_channel_that_is_lost_begins_again(queue: FakeQueue) -> None:
    async def consume(receive: ConsumerCallback) -> str:
        tag = await queue.consume(receive)
        if tag == "a":
            lost, queue.channel = queue.channel, FakeChannel()
            lost.close()
        return tag

    consumer = Consumer(queue, consume, queue.cancel, Delivery.ack, lambda: None)  # type: ignore[arg-type]  # fakes
    following = asyncio.ensure_future(consumer.follow())
    await _settle()
    assert (consumer.is_consuming, queue.channel.calls) == (True, ["consume b"])
    following.cancel()


async def test_a_consumer_outlives_an_error_of_the_client(consumer: Consumer, queue: FakeQueue) -> None:
    consumer.allow(may_consume=False)
    await _settle()
    queue.fault = KeyError("of the client")
    consumer.allow(may_consume=True)
    await _settle()
    assert not consumer.is_consuming
    consumer.allow(may_consume=True)
    await _settle()
    assert consumer.is_consuming


async def test_a_message_that_waits_for_a_slot_leaves_no_task_behind(queue: FakeQueue) -> None:
    slots = asyncio.Semaphore(0)

    async def perform() -> None:
        async with slots:
            raise AssertionError

    async def wait(delivery: Delivery) -> None:
        delivery.handle(perform())

    consumer = Consumer(queue, queue.consume, queue.cancel, wait, lambda: None)  # type: ignore[arg-type]  # fakes
    await consumer.start()
    before = asyncio.all_tasks()
    await queue.deliver("a")
    assert asyncio.all_tasks() != before
    consumer.allow(may_consume=False)
    await _settle()
    assert asyncio.all_tasks() == before
