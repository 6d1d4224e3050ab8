"""A worker that runs for long: what it loses and what it accumulates, through restarts of the broker and late tasks.

In each round the broker is restarted while tasks run, and two tasks run for longer than the consumer timeout.
"""

import asyncio
import statistics
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_worker.payload import encode
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.bench.runtime import Runtime, Setting
from tests.bench.runtimes import by_hand
from tests.bench.worker_process import WorkerProcess, worker_process
from tests.cluster.broker import Broker
from tests.cluster.installation import ROOT
from tests.cluster.progress import step
from tests.e2e.application import NAME

TASKS_PER_SIZE: Final = 1000
ROUNDS: Final = 10
WARM_UP_ROUNDS: Final = 2
LATE_SECONDS: Final = 12.0
"""Longer than the consumer timeout."""
TOGETHER: Final = 200
"""How many messages are published before the first of them is confirmed."""
TIMEOUT_SECONDS: Final = 900
TARGETS: Final = {
    "lost": Target("<=", 0),
    "rss_slope_kb_per_100k_tasks": Target("<=", 64),
    "sockets_growth": Target("<=", 0),
}
VARIABLES: Final = {
    "TASKQUEUE_MODULES": "audited",
    "TASKQUEUE_CONCURRENCY": "100",
    "TASKQUEUE_LOG_LEVEL": "warning",
}
WORKER: Final = Runtime("soak", "soak_tasks.py", ("-m", "taskqueue_worker"), (), by_hand, lambda: ROOT, ())


class Sample(NamedTuple):
    """The worker at the end of a round."""

    rss_kb: float
    sockets: int


class Soak:
    """One worker on one broker."""

    def __init__(self, broker: Broker, runs: Path, tasks: int) -> None:
        """`runs` is the file in which the tasks count their runs."""
        self._broker = broker
        self._runs = runs
        self._runs.write_bytes(bytes(tasks))

    async def declare(self) -> None:
        """Declare what the operator would declare."""
        async with await aio_pika.connect(self._broker.url) as connection, connection.channel() as channel:
            await channel.declare_exchange("taskqueue.reports", "direct", durable=True)
            await channel.declare_queue(f"{NAME}.dlq", durable=True)
            await channel.declare_queue(NAME, durable=True, arguments={"x-queue-type": "quorum"})

    async def run_round(self, worker: WorkerProcess, tasks: range) -> Sample:
        """Publish tasks, restart the broker when half of them are done, and wait for the others."""
        await self._publish(tasks)
        await self._until_done(tasks, len(tasks) // 2)
        await asyncio.to_thread(self._broker.stop)
        await asyncio.to_thread(self._broker.start)
        await self._until_done(tasks, len(tasks))
        return Sample(worker.rss_bytes() / 1024, worker.sockets())

    def counts(self) -> bytes:
        """Return how often each task ran to its end."""
        return self._runs.read_bytes()

    async def _until_done(self, tasks: range, count: int) -> None:
        async def are_done() -> bool:
            return len(tasks) - self.counts()[tasks.start : tasks.stop].count(0) >= count

        await eventually(are_done, f"{count} tasks are done", seconds=TIMEOUT_SECONDS, every=0.5)

    async def _publish(self, tasks: range) -> None:
        async with await aio_pika.connect(self._broker.url) as connection, connection.channel() as channel:
            for start in range(tasks.start, tasks.stop, TOGETHER):
                numbers = range(start, min(start + TOGETHER, tasks.stop))
                await asyncio.gather(*(_publish(channel, n, is_late=n in {tasks[0], tasks[-1]}) for n in numbers))


async def run(context: Context) -> Result:
    """Run with a broker of its own; the cluster is not needed."""
    count = context.size * TASKS_PER_SIZE // ROUNDS
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        runs = Path(temporary, "runs")
        soak, samples = Soak(broker, runs, count * ROUNDS), list[Sample]()
        await soak.declare()
        setting = Setting("late", {**VARIABLES, "RUNS": str(runs)}, 100, prefetched=0, has_control=False)
        with worker_process(WORKER, setting, broker.url, Path(temporary), adapted=False) as worker:
            for number in range(ROUNDS):
                step(f"round {number + 1} of {ROUNDS}: {count} tasks")
                samples.append(await soak.run_round(worker, range(number * count, (number + 1) * count)))
        return Result(_figures(soak.counts(), samples, count), samples=count * ROUNDS, targets=TARGETS)


def _figures(counts: bytes, samples: list[Sample], tasks_per_round: int) -> Mapping[str, float]:
    settled = samples[WARM_UP_ROUNDS:]
    slope, _ = statistics.linear_regression(range(len(settled)), [sample.rss_kb for sample in settled])
    return {
        "lost": counts.count(0),
        "run_again": len(counts) - counts.count(0) - counts.count(1),
        "rss_slope_kb_per_100k_tasks": slope / tasks_per_round * 100_000,
        "rss_first_mb": samples[0].rss_kb / 1024,
        "rss_last_mb": samples[-1].rss_kb / 1024,
        "sockets_growth": _least_sockets(samples[ROUNDS // 2 :]) - _least_sockets(samples[: ROUNDS // 2]),
    }


def _least_sockets(samples: list[Sample]) -> int:
    """Return how many sockets a worker has that publishes nothing at the moment."""
    return min(sample.sockets for sample in samples)


async def _publish(channel: AbstractChannel, number: int, *, is_late: bool) -> None:
    message = aio_pika.Message(
        encode({"task": number, "seconds": LATE_SECONDS if is_late else 0}),
        type="audited",
        message_id=str(number),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await channel.default_exchange.publish(message, NAME)
