"""Dead letters that a redrive loses or doubles when it is killed half way, twice."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable

from tests.bench import queue_contents
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.broker import Broker
from tests.cluster.installation import ROOT
from tests.cluster.progress import step

QUEUE: Final = "jobs"
DEAD_LETTERS: Final = f"{QUEUE}.dlq"
TIMEOUT_SECONDS: Final = 600
PUBLISHED_AT_ONCE: Final = 100
KILLS: Final = (0.25, 0.5)
"""Share of the dead letters that have returned when the process is killed."""
TARGETS: Final = {"lost": Target("<=", 0), "doubled": Target("<=", len(KILLS))}


async def run(context: Context) -> Result:
    """Measure with a broker of its own; the cluster is not needed."""
    count = 10 * context.size
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            await _fill(channel, count)
            step(f"redriving {count} dead letters, killed {len(KILLS)} times")
            started = time.monotonic()
            for share in KILLS:
                await _killed_after(broker, channel, int(share * count), count)
            async with _redrive(broker) as process:
                code = await process.wait()
            seconds = time.monotonic() - started
            returned, left = await queue_contents.ids(channel, QUEUE), await queue_contents.ids(channel, DEAD_LETTERS)
    found = returned + left
    figures = {
        "lost": count - len(found),
        "doubled": found.total() - len(found),
        "left": left.total(),
        "exit_code": code,
    }
    return Result({**figures, "per_s": count / seconds, "redrive_s": seconds}, samples=1, targets=TARGETS)


async def _fill(channel: AbstractChannel, count: int) -> None:
    await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    arguments: FieldTable = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    await channel.declare_queue(DEAD_LETTERS, durable=True, arguments=arguments)
    for start in range(0, count, PUBLISHED_AT_ONCE):
        await asyncio.gather(*(_publish(channel, number) for number in range(start, start + PUBLISHED_AT_ONCE)))


async def _publish(channel: AbstractChannel, number: int) -> None:
    message = aio_pika.Message(
        b"{}",
        message_id=f"id-{number}",
        headers={"x-failure-reason": "failed", "x-original-queue": QUEUE},
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await channel.default_exchange.publish(message, DEAD_LETTERS)


async def _killed_after(broker: Broker, channel: AbstractChannel, returned: int, count: int) -> None:
    """Redrive until so many have returned, kill the process, and wait until the broker has taken back what it held."""

    async def is_half_way() -> bool:
        return await queue_contents.ready(channel, QUEUE) >= returned

    async def is_taken_back() -> bool:
        return await queue_contents.ready(channel, QUEUE) + await queue_contents.ready(channel, DEAD_LETTERS) >= count

    async with _redrive(broker):
        await eventually(is_half_way, "dead letters have returned", seconds=TIMEOUT_SECONDS, every=0.02)
    await eventually(is_taken_back, "all messages are ready", seconds=TIMEOUT_SECONDS, every=0.02)


@asynccontextmanager
async def _redrive(broker: Broker) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command; it is killed at the end, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskqueue_operator", "dlq", "redrive", "--queue", DEAD_LETTERS, "--all"),
        *("--rate", "10000"),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "operator"), "RABBITMQ_URL": broker.url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
