"""A queue on a broker of this machine, for workers that need no cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_worker import Publisher
from tests.bench.polling import eventually
from tests.bench.runtime import Runtime
from tests.cluster.broker import Broker
from tests.e2e.application import NAME

POLL_SECONDS: Final = 0.005
TIMEOUT_SECONDS: Final = 60
TOGETHER: Final = 100
"""How many messages are published before the first of them is confirmed."""


class LocalQueue:
    """The queue, and what the operator would have declared beside it."""

    def __init__(self, url: str, channel: AbstractChannel, publisher: Publisher) -> None:
        self.url = url
        self._channel = channel
        self._publisher = publisher

    async def declare(self) -> Self:
        """Declare everything; the queue is empty."""
        await self._channel.declare_exchange("taskqueue.reports", "direct", durable=True)
        await self._channel.declare_queue("receipts", durable=True)
        await self._channel.declare_queue(f"{NAME}.dlq", durable=True)
        await self._channel.queue_delete(NAME)
        await self._channel.declare_queue(NAME, durable=True, arguments={"x-queue-type": "quorum"})
        return self

    async def publish(self, runtime: Runtime, count: int, *, seconds: float) -> None:
        """Publish tasks that run for `seconds` each, and wait for the confirms."""
        for start in range(0, count, TOGETHER):
            await asyncio.gather(*(self._publish(runtime, seconds) for _ in range(min(TOGETHER, count - start))))

    async def until_consumed(self) -> None:
        """Wait until a worker consumes."""
        await eventually(self._is_consumed, "a worker consumes", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)

    async def until_ready(self, messages: int) -> None:
        """Wait until the queue has so many ready messages."""

        async def is_ready() -> bool:
            return await self.ready() == messages

        await eventually(is_ready, f"{messages} ready messages", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)

    async def until_returned(self, messages: int) -> None:
        """Wait until at least so many messages are ready: a worker that ends at once returns its running tasks too."""

        async def are_ready() -> bool:
            return await self.ready() >= messages

        await eventually(are_ready, f"{messages} returned messages", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)

    async def _publish(self, runtime: Runtime, seconds: float) -> None:
        identity = uuid4().hex
        message = runtime.message(identity, seconds)
        await self._publisher.publish(
            "", NAME, message.payload, type="audited", message_id=identity, headers=message.headers
        )

    async def ready(self) -> int:
        """Return the number of ready messages."""
        declared = await self._channel.declare_queue(NAME, passive=True)
        return declared.declaration_result.message_count or 0

    async def _is_consumed(self) -> bool:
        declared = await self._channel.declare_queue(NAME, passive=True)
        return bool(declared.declaration_result.consumer_count)


@asynccontextmanager
async def local_queue(directory: Path) -> AsyncIterator[LocalQueue]:
    """Start a broker with a queue; at the end it is stopped."""
    with Broker.start(directory / "broker") as broker:
        async with (
            await aio_pika.connect(broker.url, timeout=30) as connection,
            connection.channel() as channel,
            Publisher(broker.url) as publisher,
        ):
            yield LocalQueue(broker.url, channel, publisher)
