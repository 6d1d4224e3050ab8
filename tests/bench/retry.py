"""Retries of failing tasks on a real broker: lost and doubled tasks, how late retries begin, and what they cost.

First workers delay them in the delay queues of the vhost; then RabbitMQ itself delays them (figures `native_...`).
"""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel

from taskqueue_operator.topology.retry_path import retry_path
from tests.bench import queue_contents
from tests.bench.attempts import Attempt, Attempts, chosen_delays
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target, spread
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.integration.worker.declaration import declare
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.running_worker import SOURCE, RunningWorker
from tests.unit.topology.builders import OWNER, desired_topology

ATTEMPTS: Final = 3
INITIAL_SECONDS: Final = 4
LONGEST_SECONDS: Final = 8
"""Longest delay. RabbitMQ keeps the order in a delay queue, so that a retry may be late by half of it."""
PER_SECOND: Final = 120
"""Published tasks. The worker is idle most of the time: it is not its backlog that is measured."""
PER_TURN: Final = 12
TIMEOUT_SECONDS: Final = 300
TARGETS: Final = {f"{way}{figure}": Target("<=", 0) for way in ("", "native_") for figure in ("lost", "doubled")}


async def run(context: Context) -> Result:
    """Measure with a broker of its own; the cluster is not needed."""
    count = 10 * context.size
    figures: dict[str, float] = {}
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        ways: Mapping[str, Way] = {"": Exponential(broker), "native_": Linear(broker)}
        for prefix, way in ways.items():
            measured = await _measure(way, Path(temporary, way.type), count)
            figures |= {prefix + figure: value for figure, value in measured.items()}
    return Result(figures, samples=count * (ATTEMPTS - 1), targets=TARGETS)


@dataclass(frozen=True)
class Exponential:
    """A worker delays retries in the delay queues of the vhost."""

    broker: Broker
    type: ClassVar = "Exponential"

    async def declare(self, channel: AbstractChannel) -> None:
        """Declare what the operator declares."""
        await declare(channel, desired_topology(self.type))
        await declare(channel, retry_path(self.type, OWNER))

    def delays(self, worker: RunningWorker) -> Mapping[Attempt, float]:
        """Return the delay before each retry."""
        return chosen_delays(worker.lines(event="retry stored"))


@dataclass(frozen=True)
class Linear:
    """A worker rejects what failed, and RabbitMQ delays it."""

    broker: Broker
    type: ClassVar = "Linear"

    async def declare(self, channel: AbstractChannel) -> None:
        """Declare what the operator declares, and the policy for the queue."""
        await declare(channel, desired_topology(self.type))
        delays = {"delayed-retry-min": INITIAL_SECONDS * 1000, "delayed-retry-max": LONGEST_SECONDS * 1000}
        policy = {"pattern": f"^{self.type}$", "definition": {"delayed-retry-type": "failed", **delays}}
        async with httpx.AsyncClient(base_url=self.broker.management_url, auth=("guest", "guest")) as management:
            (await management.put(f"/api/policies/%2F/{self.type}", json=policy)).raise_for_status()

    def delays(self, worker: RunningWorker) -> Mapping[Attempt, float]:
        """Return the delay before each retry: the same for all tasks."""
        retries = [Attempt(line["task_id"], line["attempt"]) for line in worker.lines(event="retry left to the broker")]
        return {retry: min(INITIAL_SECONDS * (retry.number - 1), LONGEST_SECONDS) for retry in retries}


Way = Exponential | Linear


async def _measure(way: Way, directory: Path, count: int) -> Mapping[str, float]:
    """Let tasks fail until all are dead letters."""
    async with await aio_pika.connect(way.broker.url) as connection:
        channel = await connection.channel()
        queue = DeclaredQueue(channel, way.type)
        await way.declare(channel)
        worker = _worker(way, directory)
        try:
            await worker.wait_for_log(event="consuming")
            step(f"{way.type}: {count} tasks, each of which fails {ATTEMPTS} times")
            before = worker.metric("process_cpu_seconds_total")
            await _publish(queue, count)
            await _until_dead_lettered(channel, queue, count)
            cpu_seconds = worker.metric("process_cpu_seconds_total") - before
            await asyncio.sleep(2 * LONGEST_SECONDS)  # a copy that is still delayed becomes a dead letter too
            letters = await queue_contents.ids(channel, queue.dead_letters)
        finally:
            worker.kill()
    attempts, delays = Attempts(worker.ledger), way.delays(worker)
    return {
        "lost": count - len(letters),
        "doubled": len(attempts.repeated | {task_id for task_id, copies in letters.items() if copies > 1}),
        **spread(attempts.lateness(delays), "delay_error_"),
        "retry_cpu_ms": cpu_seconds * 1000 / max(1, len(delays)),
        "retries": len(delays),
    }


def _worker(way: Way, directory: Path) -> RunningWorker:
    directory.mkdir()
    return RunningWorker(
        directory,
        way.type,
        PYTHONPATH=os.pathsep.join([str(SOURCE), str(Path(__file__).parent)]),
        RABBITMQ_URL=way.broker.url,
        TASKQUEUE_QUEUES=way.type,
        TASKQUEUE_CONCURRENCY="10",
        TASKQUEUE_MODULES="failing_tasks",
        TASKQUEUE_MAX_ATTEMPTS=str(ATTEMPTS),
        TASKQUEUE_RETRY_TYPE=way.type,
        TASKQUEUE_RETRY_INITIAL_SECONDS=str(INITIAL_SECONDS),
        TASKQUEUE_RETRY_MAX_SECONDS=str(LONGEST_SECONDS),
    )


async def _publish(queue: DeclaredQueue, count: int) -> None:
    started = time.monotonic()
    for first in range(0, count, PER_TURN):
        await asyncio.sleep(started + first / PER_SECOND - time.monotonic())
        await asyncio.gather(*(queue.publish("fail", n=n) for n in range(first, min(first + PER_TURN, count))))


async def _until_dead_lettered(channel: AbstractChannel, queue: DeclaredQueue, count: int) -> None:
    async def all_are() -> bool:
        return await queue_contents.ready(channel, queue.dead_letters) >= count

    with suppress(TimeoutError):  # what is missing then counts as lost
        await eventually(all_are, "all are dead letters", seconds=TIMEOUT_SECONDS, every=0.5)
