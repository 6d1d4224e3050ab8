"""Workers on a queue of their own that are given tasks, and the account of what became of these."""

import asyncio
import itertools
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol
from uuid import uuid4

import aio_pika
import httpx
import orjson
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from taskqueue_worker import Publisher, PublishFailedError
from tests.bench import api_server
from tests.bench.ledger import Ledger, Receipt
from tests.bench.sightings import Departure, Sightings
from tests.bench.stage import Stage
from tests.bench.trace import Task
from tests.bench.waiting import eventually
from tests.cluster.progress import step
from tests.e2e.application import Application
from tests.e2e.tenant import NAME, Tenant

LOOK_SECONDS: Final = 5
AGAIN_SECONDS: Final = 1
PATIENCE_SECONDS: Final = 300
"""Longer than two of the longest tasks and the grace periods between them."""
AFTERMATH_SECONDS: Final = 20
"""For what might still be delivered a second time."""
TOLD: Final = 10
"""How many busy victims and harmed tasks are told of."""


class Workers(Protocol):
    """How the workers of a crew come to be, and how many there are."""

    @property
    def application(self) -> Application:
        """What they run."""

    @property
    def exchange(self) -> str:
        """Where their tasks are published."""

    def begin(self, tenant: Tenant) -> None:
        """Have them, or what makes them, for a tenant that has moved in."""

    def roll(self, tenant: Tenant, version: int) -> None:
        """Replace them by a rolling update."""

    async def attend(self, tenant: Tenant) -> None:
        """Keep their number as it should be, until cancelled."""


class Crew:
    """One tenant, its workers, and the ledger of its tasks."""

    def __init__(self, stage: Stage, tenant: Tenant, workers: Workers, sightings: Sightings) -> None:
        self._uri = f"{stage.address.on_host}/{tenant.namespace}"
        self._tenant = tenant
        self._workers = workers
        self._sightings = sightings
        self._ledger = Ledger()

    async def work(self, tasks: Sequence[Task], rollouts: Iterable[float]) -> None:
        """Have all tasks published when they are due, and workers rolled at these moments; until all are done."""
        await to_thread(self._workers.begin, self._tenant)
        async with asyncio.TaskGroup() as group:
            beside = group.create_task(self._workers.attend(self._tenant)), group.create_task(self._collect())
            await asyncio.gather(self._publish(tasks), self._roll(rollouts))
            step(f"{self._tenant.namespace}: all published, {self._ledger.open} not done yet")
            await self._until_done()
            for each in beside:
                each.cancel()
        self._tell()

    def account(self) -> Mapping[str, int]:
        """Say what became of the tasks, and of the workers."""
        seen = self._sightings
        return {
            **self._ledger.audit(),
            "busy_victims": len(self._busy_victims()),
            "victims": len(seen.victims),
            "scale_ins": seen.scale_ins,
            "rollouts": seen.rollouts,
        }

    def _tell(self) -> None:
        """Say how it went, and of some of what went wrong where to look for the reason."""
        step(f"{self._tenant.namespace}: {self.account()}")
        for trace in (*self._busy_victims(), *self._ledger.harmed().items())[:TOLD]:
            step(f"{self._tenant.namespace}: {trace}")

    def _busy_victims(self) -> list[Departure]:
        return [victim for victim in self._sightings.victims if self._ledger.busy(victim.pod, victim.at)]

    async def _publish(self, tasks: Sequence[Task]) -> None:
        began = time.monotonic()
        async with Publisher(self._uri) as publisher, asyncio.TaskGroup() as group:
            for number, task in enumerate(tasks):
                await asyncio.sleep(began + task.at - time.monotonic())
                group.create_task(self._publish_one(publisher, number, task.seconds))

    async def _publish_one(self, publisher: Publisher, number: int, seconds: float) -> None:
        """Publish until it is confirmed, each time under another identity: only the last one is there for certain."""
        for attempt in itertools.count():
            identity = f"{number:05}.{attempt}"
            body, headers = self._workers.application.message(identity, seconds)
            try:
                await publisher.publish(
                    self._workers.exchange, NAME, body, type="audited", message_id=identity, headers=headers
                )
            except PublishFailedError as error:
                step(f"{self._tenant.namespace}: task {identity} does not count: {error}")
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._ledger.published.add(identity)
                return

    async def _roll(self, rollouts: Iterable[float]) -> None:
        began = time.monotonic()
        for version, at in enumerate(rollouts, start=1):
            await asyncio.sleep(began + at - time.monotonic())
            await to_thread(self._workers.roll, self._tenant, version)

    async def _until_done(self) -> None:
        async def done() -> bool:
            return not self._ledger.open and not await self._holds_messages()

        try:
            await eventually(done, "all tasks are done", seconds=PATIENCE_SECONDS, every=LOOK_SECONDS)
        except TimeoutError:
            step(f"{self._tenant.namespace}: {self._ledger.open} tasks are not done after {PATIENCE_SECONDS} s")
        await asyncio.sleep(AFTERMATH_SECONDS)

    async def _holds_messages(self) -> bool:
        try:
            return bool((await to_thread(self._tenant.queues))[NAME]["messages"])
        except httpx.TransportError:  # the way to the broker ends under load now and then, and is back soon
            return True

    async def _collect(self) -> None:
        """Take receipts as they come, until cancelled; what a lost connection brings back counts once."""
        async with await aio_pika.connect_robust(self._uri, timeout=30) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1000)
            queue = await channel.get_queue("receipts")
            await queue.consume(self._take_receipt)
            await asyncio.Event().wait()

    async def _take_receipt(self, message: AbstractIncomingMessage) -> None:
        self._ledger.add([Receipt.parse(orjson.loads(message.body))])
        with suppress(AMQPError, RuntimeError):  # then it comes once more
            await message.ack()


@asynccontextmanager
async def crew(stage: Stage, name: str, workers: Workers) -> AsyncIterator[Crew]:
    """Lend a crew that has not begun; it goes, tasks or not, in the end."""
    tenant = Tenant(*stage, f"{name}-{uuid4().hex[:6]}", workers.application)
    await to_thread(tenant.set_up)
    try:
        async with api_server.sighting(stage.cluster, tenant.namespace) as sightings:
            yield Crew(stage, tenant, workers, sightings)
    finally:
        await to_thread(tenant.tear_down)
        await to_thread(tenant.wait_for_pods_deleted)
