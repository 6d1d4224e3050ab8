"""What a robust consumer asks for, and that its own channel is never at risk."""

import asyncio
from typing import Any

import pytest
from aio_pika.exceptions import ChannelInvalidStateError, ChannelPreconditionFailed
from aiormq.exceptions import ChannelNotFoundEntity

from taskqueue_drain.aio_pika.consumer_timeout import with_consumer_timeout

ASKED = {"x-consumer-timeout": 260_000}
UNKNOWN_ARGUMENT = "PRECONDITION_FAILED - invalid arg '{}' for queue 'work' in vhost '/' of queue type {}"


class FakeChannel:
    """The channel of the queue, its connection, and the channel that asks."""

    def __init__(self, answer: Exception | None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.is_closed = False
        self.connection = self
        self._answer = answer
        self.has_answered = asyncio.Event()
        self.has_answered.set()

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    async def channel(self, *, publisher_confirms: bool) -> "FakeChannel":
        assert not publisher_confirms
        return self

    async def basic_consume(self, queue: str, callback: object, *, arguments: dict[str, Any]) -> None:
        assert callable(callback)
        assert queue == "work"
        self.asked.append(arguments)
        try:
            await self.has_answered.wait()
        finally:  # as aiormq, which raises the reason of a close in place of a cancellation
            if self._answer is not None:
                raise self._answer

    async def close(self) -> None:
        self.is_closed = True


class FakeQueue:
    name = "work"

    def __init__(self, answer: Exception | None = None, arguments: dict[str, Any] | None = None) -> None:
        self.channel = FakeChannel(answer)
        self.arguments = arguments


async def ask(queue: FakeQueue, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    return await with_consumer_timeout(queue, arguments, 260_000)  # type: ignore[arg-type]  # a fake


@pytest.mark.parametrize(
    ("answer", "arguments"),
    [
        (ChannelPreconditionFailed(UNKNOWN_ARGUMENT.format("x-stream-offset", "rabbit_quorum_queue")), ASKED),
        (ChannelPreconditionFailed(UNKNOWN_ARGUMENT.format("x-consumer-timeout", "rabbit_classic_queue")), {}),
        (ChannelNotFoundEntity("NOT_FOUND - no queue 'work' in vhost '/'"), {}),
        (ChannelInvalidStateError("closed"), {}),
        (None, {}),
    ],
    ids=["accepted", "refused", "missing", "lost", "stream"],
)
async def test_the_broker_is_asked_on_a_further_channel_without_a_consumer(
    answer: Exception | None, arguments: dict[str, Any]
) -> None:
    queue = FakeQueue(answer)
    assert await ask(queue, {"x-priority": 1}) == {"x-priority": 1} | arguments
    assert queue.channel.asked == [ASKED | {"x-stream-offset": "first"}]
    assert queue.channel.is_closed


@pytest.mark.parametrize("by", ["consumer", "queue"])
async def test_the_application_may_set_it(by: str) -> None:
    own = {"x-consumer-timeout": 7}
    queue = FakeQueue(arguments=own if by == "queue" else None)
    assert await ask(queue, own if by == "consumer" else None) == (own if by == "consumer" else {})
    assert queue.channel.asked == []


async def test_a_cancellation_that_the_client_takes_for_the_end_of_the_channel_is_not_lost() -> None:
    queue = FakeQueue(ChannelPreconditionFailed(UNKNOWN_ARGUMENT.format("x-stream-offset", "rabbit_quorum_queue")))
    queue.channel.has_answered.clear()
    asking = asyncio.ensure_future(ask(queue))
    for _ in range(5):
        await asyncio.sleep(0)
    assert queue.channel.asked
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled(), "otherwise the worker consumes on, and does not end at SIGTERM"
