"""The reports of workers to the operator: the earliest sign that a worker starts or stops to consume."""

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
    """The last reported state of a worker, and since when (monotonic)."""

    name: str
    since: float


class Reports:
    """The last state of each worker, by the UID of its pod."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._changed = asyncio.Event()

    async def on_report(self, message: AbstractIncomingMessage) -> None:
        """Record a report."""
        now, report = time.monotonic(), orjson.loads(message.body)
        pod, name = report["pod"], report["state"]
        known = self._states.get(pod)
        since = known.since if known is not None and known.name == name else now
        self._states[pod] = State(name, since)
        self._changed.set()

    def in_state(self, name: str) -> dict[str, float]:
        """Return the pods in this state, and since when."""
        return {pod: state.since for pod, state in self._states.items() if state.name == name}

    async def until(self, count: int, name: str, *, seconds: float = 60) -> dict[str, float]:
        """Wait until so many workers are in this state; return the pods, and since when."""
        async with asyncio.timeout(seconds):
            while len(found := self.in_state(name)) < count:
                self._changed.clear()
                await self._changed.wait()
        return found


@asynccontextmanager
async def watch_reports(uri: str, taskqueue: str) -> AsyncIterator[Reports]:
    """Consume the reports of the workers of `namespace/name`; the operator must have declared the exchange."""
    reports = Reports()
    async with await aio_pika.connect(uri, timeout=30) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(_EXCHANGE, taskqueue)
        await queue.consume(reports.on_report, no_ack=True)
        yield reports
