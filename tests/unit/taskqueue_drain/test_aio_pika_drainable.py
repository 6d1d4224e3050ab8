"""What a consumer by hand makes of the end of a handler."""

import asyncio
from typing import Any

import pytest

from taskqueue_drain.aio_pika import Drainable

ENVIRONMENT = {"TASKQUEUE_QUEUES": "work", "RABBITMQ_URL": "amqp://localhost"}


class FakeDelivery:
    """A message that has been delivered once. Attribute `settled`: how it was settled."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.message: Any = self
        self.headers: dict[str, Any] = {}
        self.redelivered = False

    def take(self) -> bool:
        return True

    async def ack(self) -> None:
        self.settled.append("ack")

    async def reject(self, *, requeue: bool) -> None:
        self.settled.append(f"reject {requeue}")


async def perform(handler: Any) -> list[str]:  # noqa: ANN401 - any handler
    delivery: Any = FakeDelivery()
    async with Drainable.from_environment(ENVIRONMENT) as worker:
        await asyncio.ensure_future(worker._perform(delivery, handler))
    settled: list[str] = delivery.settled
    return settled


async def test_a_message_is_acknowledged_when_its_handler_has_returned() -> None:
    assert await perform(lambda _: asyncio.sleep(0)) == ["ack"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_whatever_a_handler_raises_fails_its_task_and_nothing_else(error: type[BaseException]) -> None:
    async def handle(_: object) -> None:
        raise error

    assert await perform(handle) == ["reject False"]


async def test_a_task_that_is_cut_by_the_end_of_the_event_loop_is_delivered_again() -> None:
    async def handle(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    delivery: Any = FakeDelivery()
    async with Drainable.from_environment(ENVIRONMENT) as worker:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(worker._perform(delivery, handle))
    assert delivery.settled == []
