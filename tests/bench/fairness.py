"""How long the tasks of quiet tenants take while another tenant floods a sharded queue, relative to a time without it.

A task takes from its publish to its end. Workers and quiet tenants are the same in each run. The control is one queue
without shards: there, quiet tenants wait for all that the flood has published before.
"""

import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange

from taskqueue_operator.topology.objects import Topology
from tests.bench import queue_contents
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.integration.worker.declaration import declare
from tests.integration.worker.running_worker import SOURCE, RunningWorker
from tests.unit.topology.builders import desired_topology

WORKERS: Final = 2
CONCURRENCY: Final = 4
SHARDS: Final = 8
QUIET: Final = tuple(f"quiet-{number}" for number in range(16))
FLOOD: Final = "flood"
LENGTH_SECONDS: Final = 0.05, 0.15
"""Shortest and longest task."""
PER_SECOND: Final = 16
"""Tasks of all quiet tenants together, at random times: a fifth of what the workers can do."""
FLOOD_PER_SECOND: Final = 100
"""Tasks of the flood, published before the others begin; the workers can do 80 in a second."""
CONTROL_SECONDS: Final = 10
TIMEOUT_SECONDS: Final = 300
PERCENTILE: Final = 95
_lengths: Final = random.Random(2)
TARGETS: Final = {"quiet_p95_ratio": Target("<=", 2)}


async def run(context: Context) -> Result:
    """Measure with a broker of its own; the cluster is not needed."""
    seconds = max(5, 60 * context.size // 1000)
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        sharded = desired_topology("sharded", queue={"shards": {"count": SHARDS, "hashOn": "tenant"}})
        single = desired_topology("single")
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            shards = await _shards_of_tenants(channel, sharded)
            sharing = {tenant for tenant in QUIET if shards[tenant] == shards[FLOOD]}
            alone = await _Run(broker, channel, "sharded", Path(temporary, "alone")).measure(seconds)
            flooded = await _Run(broker, channel, "sharded", Path(temporary, "flood")).measure(seconds, seconds)
            await declare(channel, single)
            control = await _Run(broker, channel, "single", Path(temporary, "control")).measure(
                CONTROL_SECONDS, seconds
            )
    others = set(QUIET) - sharing
    before, after, unsharded = (_p95(times, others) for times in (alone, flooded, control))
    figures = {
        "quiet_p95_ratio": after / before,
        "control_p95_ratio": unsharded / before,
        "alone_p95_s": before,
        "quiet_p95_s": after,
        "control_p95_s": unsharded,
        "tenants": len(QUIET),
        "sharing_tenants": len(sharing),
        **({"sharing_p95_s": _p95(flooded, sharing)} if sharing else {}),
    }
    return Result(figures, samples=sum(len(flooded[tenant]) for tenant in others), targets=TARGETS)


async def _shards_of_tenants(channel: AbstractChannel, sharded: Topology) -> Mapping[str, str]:
    """Return the shard of each tenant: the one that has a message more after one of the tenant was confirmed."""
    await declare(channel, sharded)
    exchange = await channel.get_exchange("sharded")
    names = [name for name in sharded.queues if not name.endswith(".dlq")]
    found: dict[str, str] = {}
    for tenant in (FLOOD, *QUIET):
        await _publish(exchange, tenant, f"{tenant}/probe")

        async def is_there(tenant: str = tenant) -> bool:
            full = [name for name in names if await queue_contents.ready(channel, name)]
            found.update(dict.fromkeys([tenant], full[0]) if full else {})
            return bool(full)

        await eventually(is_there, f"a message of {tenant}", seconds=30, every=0.05)
        await (await channel.get_queue(found[tenant])).purge()
    return found


@dataclass
class _Run:
    """Workers of one queue or of its shards, and what tenants publish."""

    broker: Broker
    channel: AbstractChannel
    name: str
    directory: Path
    published: dict[str, float] = field(default_factory=dict)

    async def measure(self, seconds: int, flood_seconds: int = 0) -> Mapping[str, Sequence[float]]:
        """Return how long the tasks of each quiet tenant took, while they publish for so many seconds.

        The flood has published work for more than `flood_seconds` before.
        """
        step(f"{self.name}: {seconds} s, {'with' if flood_seconds else 'without'} a flood")
        self.directory.mkdir()
        exchange = await self.channel.get_exchange(self.name)
        await self._publish_flood(exchange, flood_seconds * FLOOD_PER_SECOND)
        workers = [self._worker(f"worker-{number}") for number in range(WORKERS)]
        try:
            for worker in workers:
                await worker.wait_for_log(event="consuming", times=len(self._queues))
            await self._publish_quiet(exchange, seconds)
            await eventually(self._is_done, "the quiet tasks are done", seconds=TIMEOUT_SECONDS, every=0.5)
        finally:
            for worker in workers:
                worker.kill()
        for name in self._queues:
            await (await self.channel.get_queue(name)).purge()
        return self._times()

    @property
    def _queues(self) -> Sequence[str]:
        return [f"{self.name}.{number}" for number in range(SHARDS)] if self.name == "sharded" else [self.name]

    def _worker(self, name: str) -> RunningWorker:
        return RunningWorker(
            self.directory,
            name,
            PYTHONPATH=os.pathsep.join([str(SOURCE), str(Path(__file__).parent)]),
            RABBITMQ_URL=self.broker.url,
            TASKQUEUE_QUEUES=",".join(self._queues),
            TASKQUEUE_CONCURRENCY=str(CONCURRENCY),
            TASKQUEUE_MODULES="tenant_tasks",
        )

    async def _publish_flood(self, exchange: AbstractExchange, count: int) -> None:
        for first in range(0, count, 100):
            await asyncio.gather(*(_publish(exchange, FLOOD, f"{FLOOD}/{n}") for n in range(first, first + 100)))

    async def _publish_quiet(self, exchange: AbstractExchange, seconds: int) -> None:
        chance = random.Random(1)  # the same times in each run
        due = time.monotonic()
        for number in range(PER_SECOND * seconds):
            due += chance.expovariate(PER_SECOND)
            await asyncio.sleep(due - time.monotonic())
            tenant = chance.choice(QUIET)
            self.published[f"{tenant}/{number}"] = time.monotonic()
            await _publish(exchange, tenant, f"{tenant}/{number}")

    def _ended(self) -> Mapping[str, float]:
        ledger = self.directory / "ledger"
        lines = [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []
        return {task: float(ended) for task, ended in lines}

    async def _is_done(self) -> bool:
        return self.published.keys() <= self._ended().keys()

    def _times(self) -> Mapping[str, Sequence[float]]:
        ended, times = self._ended(), dict[str, list[float]]()
        for task, at in self.published.items():
            times.setdefault(task.partition("/")[0], []).append(ended[task] - at)
        return times


async def _publish(exchange: AbstractExchange, tenant: str, task: str) -> None:
    # Tasks of equal length would keep the order in which slots become free.
    body = json.dumps({"id": task, "seconds": _lengths.uniform(*LENGTH_SECONDS)}).encode()
    persistent = aio_pika.DeliveryMode.PERSISTENT
    message = aio_pika.Message(body, type="serve", headers={"tenant": tenant}, delivery_mode=persistent)
    await exchange.publish(message, exchange.name)


def _p95(times: Mapping[str, Sequence[float]], tenants: Collection[str]) -> float:
    samples = [seconds for tenant in tenants for seconds in times.get(tenant, ())]
    return statistics.quantiles(samples, n=100, method="inclusive")[PERCENTILE - 1]
