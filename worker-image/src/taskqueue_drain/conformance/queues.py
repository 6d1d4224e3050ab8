"""The queues of one worker under test, which exist as long as the test."""

from types import TracebackType
from typing import Final, Self

from aio_pika import Message
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable

ANSWER_SECONDS: Final = 10
"""How long the broker may take for one answer. During a memory alarm it answers no connection that has published."""
EXPIRES_SECONDS: Final = 600
"""When the broker deletes what a killed kit has left."""


class TaskQueues:
    """A queue of tasks with its dead-letter queue.

    Attributes:
        name: Name of the queue.
    """

    def __init__(self, channel: AbstractChannel, name: str, kind: str) -> None:
        self._channel = channel
        self._kind = kind
        self.name = name

    async def __aenter__(self) -> Self:
        expires: FieldTable = {"x-expires": EXPIRES_SECONDS * 1000}
        dead_letters: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{self.name}.dlq"}
        await self._channel.declare_queue(f"{self.name}.dlq", durable=True, arguments=expires, timeout=ANSWER_SECONDS)
        arguments: FieldTable = {"x-queue-type": self._kind, **expires, **dead_letters}
        await self._channel.declare_queue(self.name, durable=True, arguments=arguments, timeout=ANSWER_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in (self.name, f"{self.name}.dlq"):
            await self._channel.queue_delete(name, timeout=ANSWER_SECONDS)

    async def publish(self, message: Message) -> None:
        """Publish to the queue, and wait for the confirm."""
        await self._channel.default_exchange.publish(message, self.name)

    async def ready(self) -> int:
        """Return the number of ready messages."""
        return await self._count(self.name)

    async def dead_letters(self) -> int:
        """Return the number of dead letters."""
        return await self._count(f"{self.name}.dlq")

    async def _count(self, name: str) -> int:
        declared = await self._channel.declare_queue(name, passive=True)
        return int(declared.declaration_result.message_count or 0)
