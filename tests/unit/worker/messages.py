"""Messages without a broker."""

import asyncio
from typing import Any, cast

from aio_pika.abc import AbstractIncomingMessage

from taskqueue_worker.delivery import Delivery


class Message:
    """As much of an aio-pika message as is used. `fault` is raised, or slept on, when it is settled."""

    def __init__(self, name: str | None, body: bytes, content_type: str | None) -> None:
        self.type = name
        self.body = body
        self.content_type = content_type
        self.routing_key = "by.key"
        self.message_id = "id"
        self.consumer_tag = "tag"
        self.headers: dict[str, Any] = {}
        self.redelivered = False
        self.fault: BaseException | float = 0.0
        self.settled: list[str] = []

    @classmethod
    def delivered(cls, name: str | None = "t", *, body: bytes = b"{}", content_type: str | None = None) -> Delivery:
        return Delivery(cast("AbstractIncomingMessage", cls(name, body, content_type)), "q")

    async def ack(self) -> None:
        await self._settle("ack")

    async def reject(self, *, requeue: bool) -> None:
        await self._settle(f"reject requeue={requeue}")

    async def nack(self, *, requeue: bool) -> None:
        await self._settle(f"nack requeue={requeue}")

    async def _settle(self, how: str) -> None:
        if isinstance(self.fault, BaseException):
            raise self.fault
        await asyncio.sleep(self.fault)
        self.settled.append(how)


def message_of(delivery: Delivery) -> Message:
    return cast("Message", delivery.message)
