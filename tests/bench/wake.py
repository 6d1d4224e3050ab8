"""From a confirmed message to the first worker that is asked for, with many TaskQueues asleep."""

import asyncio
import random
import statistics
import time

import aio_pika

from taskqueue_worker import Publisher
from tests.bench import fleet
from tests.bench.api_server import Wakes, watching
from tests.bench.result import Result
from tests.bench.setting import Setting

SAMPLES = 50
PAUSE_SECONDS = (1.0, 2.0)
"""Between samples: any phase of the operator's rounds, and time for the other controllers to finish with the last."""
PATIENCE_SECONDS = 30


async def run(setting: Setting) -> Result:
    """Wake one sleeper after the other, each once: going back to sleep takes them longer than the whole of a sample."""
    uri = f"{setting.address.outside}/{fleet.VHOST}"
    async with (
        fleet.asleep(setting) as names,
        watching(setting.cluster.kubeconfig, fleet.NAMESPACE) as wakes,
        Publisher(uri) as publisher,
        await aio_pika.connect(uri, timeout=PATIENCE_SECONDS) as connection,
    ):
        channel = await connection.channel()
        seconds = []
        for name in random.sample(names, SAMPLES):
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            seconds.append(await _wake(name, publisher, wakes))
            await (await channel.get_queue(name, ensure=False)).purge(timeout=PATIENCE_SECONDS)
    quantiles = statistics.quantiles(seconds, n=100, method="inclusive")
    figures = {"p50_s": quantiles[49], "p99_s": quantiles[98], "min_s": min(seconds), "max_s": max(seconds)}
    return Result(figures, samples=len(seconds))


async def _wake(name: str, publisher: Publisher, wakes: Wakes) -> float:
    woken = wakes.expect(name)
    await publisher.publish(name, name, {}, type="bench")
    confirmed = time.monotonic()
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await woken - confirmed
