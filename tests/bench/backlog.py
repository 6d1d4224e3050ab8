"""Backlogs that come and go, and how long after each the operator asks for the workers it needs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_worker import Publisher
from tests.bench.api_server import Scalings, watching
from tests.bench.fleet import NAMESPACE, Fleet

PATIENCE_SECONDS = 30


class Backlog:
    """Puts messages into queues and takes them out again."""

    def __init__(self, publisher: Publisher, channel: AbstractChannel, scalings: Scalings) -> None:
        self._publisher = publisher
        self._channel = channel
        self._scalings = scalings

    async def add(self, name: str, messages: int, *, replicas: int) -> float:
        """Tell the seconds from the moment the messages are confirmed to the one we hear of so many replicas."""
        scaled = self._scalings.expect(name, replicas)
        publishing = (self._publisher.publish(name, name, {}, type="bench") for _ in range(messages))
        await asyncio.gather(*publishing)
        confirmed = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await scaled - confirmed

    async def purge(self, name: str) -> None:
        """Take all out."""
        await (await self._channel.get_queue(name, ensure=False)).purge(timeout=PATIENCE_SECONDS)


@asynccontextmanager
async def backlog(fleet: Fleet) -> AsyncIterator[Backlog]:
    """Lend one for the queues of the fleet."""
    uri = fleet.uri
    async with (
        watching(fleet.stage.cluster, NAMESPACE) as scalings,
        Publisher(uri) as publisher,
        await aio_pika.connect(uri, timeout=PATIENCE_SECONDS) as connection,
    ):
        yield Backlog(publisher, await connection.channel(), scalings)
