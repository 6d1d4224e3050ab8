"""Backlogs that benchmarks create, and how long the operator takes to scale out for them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_worker import Publisher
from tests.bench.api_server import ScaleOuts, watch_scale_outs
from tests.bench.fleet import NAMESPACE, Fleet

TIMEOUT_SECONDS = 30


class Backlog:
    """Publishes messages to queues, and purges the queues."""

    def __init__(self, publisher: Publisher, channel: AbstractChannel, scale_outs: ScaleOuts) -> None:
        self._publisher = publisher
        self._channel = channel
        self._scale_outs = scale_outs

    async def add(self, name: str, messages: int, *, replicas: int) -> float:
        """Publish messages; return the seconds from the last confirm until the Deployment has so many replicas."""
        scaled = self._scale_outs.expect(name, replicas)
        publishing = (self._publisher.publish(name, name, {}, type="bench") for _ in range(messages))
        await asyncio.gather(*publishing)
        confirmed = time.monotonic()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await scaled - confirmed

    async def purge(self, name: str) -> None:
        """Remove all messages."""
        await (await self._channel.get_queue(name, ensure=False)).purge(timeout=TIMEOUT_SECONDS)


@asynccontextmanager
async def backlog(fleet: Fleet) -> AsyncIterator[Backlog]:
    """Return the backlog for the queues of the fleet."""
    uri = fleet.uri
    async with (
        watch_scale_outs(fleet.cluster, NAMESPACE) as scale_outs,
        Publisher(uri) as publisher,
        await aio_pika.connect(uri, timeout=TIMEOUT_SECONDS) as connection,
    ):
        yield Backlog(publisher, await connection.channel(), scale_outs)
