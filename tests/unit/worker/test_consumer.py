"""When it is certain that a consumer is gone, in virtual time."""

import asyncio
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from taskqueue_worker.consumer import Consumer, _Kept
from taskqueue_worker.delivery import Delivery
from tests.unit.worker.messages import Message

pytestmark = pytest.mark.looptime


class Channel:
    """As much of a channel and its queue as is used: each call takes a second."""

    def __init__(self) -> None:
        self.is_closed = False
        self.calls: list[str] = []
        self.fault: BaseException | None = None
        self.on_message: Any = None

    async def get_queue(self, *_: object, **__: object) -> "Channel":
        return self

    async def consume(self, on_message: object, **_: object) -> None:
        self.on_message = on_message

    async def cancel(self, _: str) -> None:
        await self._answer("cancel")

    async def set_qos(self, **_: object) -> None:
        await self._answer("qos")

    async def _answer(self, call: str) -> None:
        await asyncio.sleep(1)
        if self.fault is not None:
            raise self.fault
        self.calls.append(call)


class Bench:
    def __init__(self) -> None:
        self.channel = Channel()
        self.news = asyncio.Event()
        self.consumer = Consumer(cast("AbstractChannel", self.channel), "q", "tag", 1, self.news)
        self.received: list[Delivery] = []

    async def deliver(self) -> Message:
        message = Message("t", b"{}", None)
        message.fault = 0.5  # as long as it takes to settle it
        await self.channel.on_message(cast("AbstractIncomingMessage", message))
        return message


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    await bench.consumer.start(bench.received.append, {})
    return bench


async def test_it_is_gone_when_something_was_answered_after_the_cancel(bench: Bench) -> None:
    await bench.deliver()
    await bench.consumer.cancel()
    assert not bench.consumer.gone.is_set()
    await bench.consumer.make_certain()
    assert bench.channel.calls == ["cancel", "qos"]
    assert bench.consumer.gone.is_set()
    assert bench.news.is_set()
    assert len(bench.received) == 1


async def test_what_comes_afterwards_is_requeued_and_the_certainty_with_it(bench: Bench) -> None:
    await bench.consumer.cancel()
    await bench.consumer.make_certain()
    late = asyncio.ensure_future(bench.deliver())
    await asyncio.sleep(0.1)
    assert not bench.consumer.gone.is_set()
    assert (await late).settled == ["nack requeue=True"]
    assert bench.received == []
    assert bench.channel.calls == ["cancel", "qos", "qos"]
    assert bench.consumer.gone.is_set()


async def test_an_answer_to_a_question_from_before_proves_nothing_of_what_came_meanwhile(bench: Bench) -> None:
    await bench.consumer.cancel()
    certain = asyncio.ensure_future(bench.consumer.make_certain())
    await asyncio.sleep(0.75)
    late = asyncio.ensure_future(bench.deliver())
    await certain
    assert not bench.consumer.gone.is_set()
    await late
    assert bench.consumer.gone.is_set()


@pytest.mark.parametrize("fault", [RuntimeError("closed"), ConnectionResetError(), asyncio.CancelledError()])
async def test_without_an_answer_it_is_not_gone_before_its_channel_is(bench: Bench, fault: BaseException) -> None:
    bench.channel.fault = fault
    await bench.consumer.cancel()
    await bench.consumer.make_certain()
    assert not bench.consumer.gone.is_set()
    bench.consumer.forget()
    assert bench.consumer.gone.is_set()
    assert bench.consumer.ended.is_set()


async def test_on_a_closed_channel_there_is_nothing_to_ask(bench: Bench) -> None:
    bench.channel.is_closed = True
    await bench.consumer.cancel()
    await bench.consumer.make_certain()
    assert bench.channel.calls == []
    assert bench.consumer.gone.is_set()


def test_a_consumer_is_remembered_after_its_cancel() -> None:
    async def callback(_: object) -> None: ...

    consumers = _Kept()
    consumers["tag"] = callback
    assert consumers.pop("tag", None) is callback
    assert consumers["tag"] is callback
