"""Queues that feed the workers of these tests."""

import json

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.common import FieldTable

from tests.integration.worker.eventually import eventually


class DeclaredQueue:
    """A queue with a dead-letter queue.

    Attributes:
        channel: The channel of the test.
        name: Name of the queue.
        dead_letters: Name of its dead-letter queue.
    """

    def __init__(self, channel: AbstractChannel, name: str, kind: str = "quorum") -> None:
        self.channel = channel
        self.name = name
        self.dead_letters = f"{name}.dlq"
        self._kind = kind

    async def declare(self, further: FieldTable | None = None) -> "DeclaredQueue":
        await self.channel.declare_queue(self.dead_letters, durable=True)
        arguments: FieldTable = {
            "x-queue-type": self._kind,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.dead_letters,
            **(further or {}),
        }
        await self.channel.declare_queue(self.name, durable=True, arguments=arguments)
        return self

    async def delete(self) -> None:
        await self.channel.queue_delete(self.name)

    async def publish(self, type: str | None = "work", *, body: bytes | None = None, **payload: object) -> None:  # noqa: A002
        message = aio_pika.Message(
            body if body is not None else json.dumps(payload).encode(),
            type=type,
            message_id=f"id-{payload.get('n')}",
            content_type=None if body is None else str(payload.get("content_type")),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self.channel.default_exchange.publish(message, self.name)

    async def ready(self, queue: str | None = None) -> int:
        """Return the number of ready messages of this queue, or of the one named."""
        declared = await self.channel.declare_queue(queue or self.name, passive=True)
        return int(declared.declaration_result.message_count or 0)

    async def wait_for_ready(self, count: int, queue: str | None = None) -> None:
        async def holds() -> bool:
            return await self.ready(queue) == count

        await eventually(f"{count} ready in {queue or self.name}", holds)

    async def get(self, queue: str) -> AbstractIncomingMessage:
        """Remove and return the next message of the named queue."""
        await eventually(f"a message in {queue}", lambda: self.ready(queue))
        message = await (await self.channel.get_queue(queue)).get(no_ack=True)
        assert message is not None
        return message
