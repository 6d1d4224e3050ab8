"""Retries of failing tasks on a real broker: lost and doubled tasks, how late retries begin, and what they cost."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_operator.topology.retry_path import retry_path
from tests.bench import queue_contents
from tests.bench.attempts import Attempts, chosen_delays
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target, spread
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.integration.worker.declaration import declare
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.running_worker import SOURCE, RunningWorker
from tests.unit.topology.builders import OWNER, desired_topology

QUEUE: Final = "jobs"
ATTEMPTS: Final = 3
INITIAL_SECONDS: Final = 4
LONGEST_SECONDS: Final = 8
"""Longest delay. RabbitMQ keeps the order in a delay queue, so that a retry may be late by half of it."""
PER_SECOND: Final = 120
"""Published tasks. The worker is idle most of the time: it is not its backlog that is measured."""
PER_TURN: Final = 12
TIMEOUT_SECONDS: Final = 300
TARGETS: Final = {"lost": Target("<=", 0), "doubled": Target("<=", 0)}


async def run(context: Context) -> Result:
    """Measure with a broker of its own; the cluster is not needed."""
    count = 10 * context.size
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        figures = await _delay_queues(broker, Path(temporary), count)
    return Result(figures, samples=count * (ATTEMPTS - 1), targets=TARGETS)


async def _delay_queues(broker: Broker, directory: Path, count: int) -> Mapping[str, float]:
    """Let a worker delay failing tasks in the delay queues of the vhost, until all are dead letters."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = DeclaredQueue(channel, QUEUE)
        await declare(channel, desired_topology())
        await declare(channel, retry_path(QUEUE, OWNER))
        worker = _worker(broker, directory, queue.name)
        try:
            await worker.wait_for_log(event="consuming")
            step(f"{count} tasks, each of which fails {ATTEMPTS} times")
            before = worker.metric("process_cpu_seconds_total")
            await _publish(queue, count)
            await _until_dead_lettered(channel, queue, count)
            cpu_seconds = worker.metric("process_cpu_seconds_total") - before
            await asyncio.sleep(2 * LONGEST_SECONDS)  # a copy that is still delayed becomes a dead letter too
            letters = await queue_contents.ids(channel, queue.dead_letters)
        finally:
            worker.kill()
    attempts, delays = Attempts(worker.ledger), chosen_delays(worker.lines(event="retry stored"))
    return {
        "lost": count - len(letters),
        "doubled": len(attempts.repeated | {task_id for task_id, copies in letters.items() if copies > 1}),
        **spread(attempts.lateness(delays), "delay_error_"),
        "retry_cpu_ms": cpu_seconds * 1000 / max(1, len(delays)),
        "retries": len(delays),
    }


def _worker(broker: Broker, directory: Path, queue: str) -> RunningWorker:
    return RunningWorker(
        directory,
        "worker",
        PYTHONPATH=os.pathsep.join([str(SOURCE), str(Path(__file__).parent)]),
        RABBITMQ_URL=broker.url,
        TASKQUEUE_QUEUES=queue,
        TASKQUEUE_CONCURRENCY="10",
        TASKQUEUE_MODULES="failing_tasks",
        TASKQUEUE_MAX_ATTEMPTS=str(ATTEMPTS),
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
