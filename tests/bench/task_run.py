"""Workers of one tenant that run tasks, and the audit of these tasks."""

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
from tests.bench.pod_history import PodHistory, Removal
from tests.bench.polling import eventually
from tests.bench.workload import Task
from tests.cluster.progress import step
from tests.e2e.application import NAME, Application
from tests.e2e.cluster_broker import ClusterBroker
from tests.e2e.tenant import Tenant

POLL_SECONDS: Final = 5
RETRY_SECONDS: Final = 1
TIMEOUT_SECONDS: Final = 300
"""Longer than two of the longest tasks with the grace periods between them."""
SILENCE_SECONDS: Final = 100
"""Longer than the longest task with a grace period: what is not done by then, and no message any more, is lost."""
REDELIVERY_SECONDS: Final = 20
"""The time in which a second delivery would still arrive."""
REPORTED: Final = 10
"""How many removed busy pods and harmed tasks are printed."""


class Workers(Protocol):
    """How the workers of a run are created and scaled."""

    @property
    def application(self) -> Application:
        """The application of the workers."""

    @property
    def exchange(self) -> str:
        """The exchange to which tasks are published."""

    def create(self, tenant: Tenant) -> None:
        """Create the workers, or the object that creates them, for a tenant that is set up."""

    def roll_out(self, tenant: Tenant, version: int) -> None:
        """Replace the workers by a rolling update."""

    async def keep_scaled(self, tenant: Tenant) -> None:
        """Scale the workers until cancelled."""


class TaskRun:
    """One tenant, its workers, and the ledger of its tasks."""

    def __init__(self, broker: ClusterBroker, tenant: Tenant, workers: Workers, history: PodHistory) -> None:
        self._uri = f"{broker.address.on_host}/{tenant.namespace}"
        self._tenant = tenant
        self._workers = workers
        self._history = history
        self._ledger = Ledger()
        self._last_receipt_at = time.monotonic()

    async def run(self, tasks: Sequence[Task], rollouts: Iterable[float]) -> None:
        """Publish each task when due, roll the workers out at these moments, and wait until all tasks are done."""
        await to_thread(self._workers.create, self._tenant)
        async with asyncio.TaskGroup() as group:
            background = group.create_task(self._workers.keep_scaled(self._tenant)), group.create_task(self._collect())
            await asyncio.gather(self._publish(tasks), self._roll(rollouts))
            step(f"{self._tenant.namespace}: all published, {self._ledger.open} not done yet")
            await self._until_done()
            for task in background:
                task.cancel()
        self._print()

    def account(self) -> Mapping[str, int]:
        """Return the audit of the tasks, and counts of scale-ins, rollouts and removed pods."""
        history = self._history
        return {
            **self._ledger.audit(),
            "removed_busy_pods": len(self._removed_busy_pods()),
            "removed_pods": len(history.scaled_in),
            "scale_ins": history.scale_ins,
            "rollouts": history.rollouts,
        }

    def _print(self) -> None:
        """Print the account, and some of the harm with its receipts."""
        step(f"{self._tenant.namespace}: {self.account()}")
        for harm in (*self._removed_busy_pods(), *self._ledger.harmed().items())[:REPORTED]:
            step(f"{self._tenant.namespace}: {harm}")

    def _removed_busy_pods(self) -> list[Removal]:
        return [removal for removal in self._history.scaled_in if self._ledger.busy(removal.pod, removal.at)]

    async def _publish(self, tasks: Sequence[Task]) -> None:
        start = time.monotonic()
        async with Publisher(self._uri) as publisher, asyncio.TaskGroup() as group:
            for number, task in enumerate(tasks):
                await asyncio.sleep(start + task.at - time.monotonic())
                group.create_task(self._publish_one(publisher, number, task.seconds))

    async def _publish_one(self, publisher: Publisher, number: int, seconds: float) -> None:
        """Publish until it is confirmed, each time with another id: only the last message certainly exists."""
        for attempt in itertools.count():
            identity = f"{number:05}.{attempt}"
            body, headers = self._workers.application.message(identity, seconds)
            try:
                await publisher.publish(
                    self._workers.exchange, NAME, body, type="audited", message_id=identity, headers=headers
                )
            except PublishFailedError as error:
                step(f"{self._tenant.namespace}: task {identity} does not count: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._ledger.published.add(identity)
                return

    async def _roll(self, rollouts: Iterable[float]) -> None:
        start = time.monotonic()
        for version, at in enumerate(rollouts, start=1):
            await asyncio.sleep(start + at - time.monotonic())
            await to_thread(self._workers.roll_out, self._tenant, version)

    async def _until_done(self) -> None:
        async def done() -> bool:
            is_silent = time.monotonic() - self._last_receipt_at > SILENCE_SECONDS
            return (is_silent or not self._ledger.open) and not await self._holds_messages()

        try:
            await eventually(done, "all tasks are done", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
        except TimeoutError:
            step(f"{self._tenant.namespace}: the queue is not empty after {TIMEOUT_SECONDS} s")
        await asyncio.sleep(REDELIVERY_SECONDS)

    async def _holds_messages(self) -> bool:
        try:
            return bool((await to_thread(self._tenant.queues))[NAME]["messages"])
        except httpx.TransportError:  # the port-forward breaks under load now and then, and restarts
            return True

    async def _collect(self) -> None:
        """Consume receipts until cancelled; a receipt that is redelivered counts once."""
        async with await aio_pika.connect_robust(self._uri, timeout=30) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1000)
            queue = await channel.get_queue("receipts")
            await queue.consume(self._on_receipt)
            await asyncio.Event().wait()

    async def _on_receipt(self, message: AbstractIncomingMessage) -> None:
        self._last_receipt_at = time.monotonic()
        self._ledger.add([Receipt.parse(orjson.loads(message.body))])
        with suppress(AMQPError, RuntimeError):  # then it is redelivered
            await message.ack()


@asynccontextmanager
async def task_run(broker: ClusterBroker, name: str, workers: Workers) -> AsyncIterator[TaskRun]:
    """Return a run that has not started, with a tenant of its own, which is removed at the end."""
    tenant = Tenant(broker.cluster, broker.api, broker.address, f"{name}-{uuid4().hex[:6]}", workers.application)
    await to_thread(tenant.set_up)
    try:
        async with api_server.watch_pods(broker.cluster, tenant.namespace) as history:
            yield TaskRun(broker, tenant, workers, history)
    finally:
        await to_thread(tenant.tear_down)
        await to_thread(tenant.wait_for_pods_deleted)
