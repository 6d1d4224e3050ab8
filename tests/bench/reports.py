"""What workers tell the operator, overheard: the soonest anybody learns that one has stopped or begun to consume."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

_EXCHANGE: Final = "taskqueue.reports"


class State(NamedTuple):
    """What a worker last said that it does, and since when."""

    name: str
    since: float


class Reports:
    """The last state of each worker, by the UID of its pod; moments are of the monotonic clock."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._news = asyncio.Event()

    async def hear(self, message: AbstractIncomingMessage) -> None:
        """Take note of a report."""
        now, report = time.monotonic(), orjson.loads(message.body)
        pod, name = report["pod"], report["state"]
        known = self._states.get(pod)
        since = known.since if known is not None and known.name == name else now
        self._states[pod] = State(name, since)
        self._news.set()

    def all_in(self, name: str) -> dict[str, float]:
        """Since when each of the workers that are in this state is in it."""
        return {pod: state.since for pod, state in self._states.items() if state.name == name}

    async def until(self, count: int, name: str, *, seconds: float = 60) -> dict[str, float]:
        """Wait until so many workers are in this state; since when each is."""
        async with asyncio.timeout(seconds):
            while len(found := self.all_in(name)) < count:
                self._news.clear()
                await self._news.wait()
        return found


@asynccontextmanager
async def overheard(uri: str, taskqueue: str) -> AsyncIterator[Reports]:
    """Listen to the workers of `namespace/name`, from when the operator has made the exchange."""
    reports = Reports()
    async with await aio_pika.connect(uri, timeout=30) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(_EXCHANGE, taskqueue)
        await queue.consume(reports.hear, no_ack=True)
        yield reports
