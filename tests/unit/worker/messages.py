"""Fake messages, and what runs them in virtual time, for tests without a broker."""

import asyncio
from typing import Any, cast

from aio_pika.abc import AbstractIncomingMessage

from taskqueue_worker.bridge import Inbox
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry


class FakeMessage:
    """The used part of an aio-pika message. Its settlement raises `fault`, or takes `fault` seconds."""

    def __init__(self, type: str | None, body: bytes, content_type: str | None) -> None:  # noqa: A002 - the AMQP name
        self.type = type
        self.body = body
        self.content_type = content_type
        self.routing_key = "by.key"
        self.message_id = "id"
        self.consumer_tag = "tag"
        self.headers: dict[str, Any] = {}
        self.redelivered = False
        self.fault: BaseException | float = 0.0
        self.settled: list[str] = []

    async def ack(self) -> None:
        await self._settle("ack")

    async def reject(self, *, requeue: bool) -> None:
        await self._settle(f"reject requeue={requeue}")

    async def nack(self, *, requeue: bool) -> None:
        await self._settle(f"nack requeue={requeue}")

    async def _settle(self, method: str) -> None:
        if isinstance(self.fault, BaseException):
            raise self.fault
        await asyncio.sleep(self.fault)
        self.settled.append(method)


def delivery(
    type: str | None = "t",  # noqa: A002 - the AMQP name
    *,
    body: bytes = b"{}",
    content_type: str | None = None,
) -> Delivery:
    return Delivery(cast("AbstractIncomingMessage", FakeMessage(type, body, content_type)), "q")


def message_of(delivery: Delivery) -> FakeMessage:
    return cast("FakeMessage", delivery.message)


def runner_of(registry: Registry, timeout_seconds: float = 50) -> Runner:
    """Return a runner whose handlers share the loop of the test, and so its virtual time."""
    loop = asyncio.get_running_loop()
    return Runner(registry, HandlerLoop(loop), Inbox(loop), timeout_seconds=timeout_seconds, threads=1)
