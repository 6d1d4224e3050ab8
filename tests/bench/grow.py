"""The time from a backlog that needs 20 workers to 20 replicas, with many TaskQueues at zero."""

import asyncio
import random
from typing import Final

from tests.bench.backlog import Backlog, backlog
from tests.bench.context import Context
from tests.bench.fleet import MAX_REPLICAS
from tests.bench.result import Result, Target, spread

SAMPLES = 25
"""From 0 workers, and as many from 1."""
PAUSE_SECONDS = (0.75, 1.75)
"""So that samples hit any phase of a round, after the twenty pods of the last sample."""
TARGETS: Final = {"p50_s": Target("<=", 0.6), "p99_s": Target("<=", 1.5)}


async def run(context: Context) -> Result:
    """Scale out one TaskQueue after the other, each once, alternately from 0 and from 1."""
    fleet = await context.fleet()
    await fleet.scale_to_zero()
    chosen = random.sample(fleet.names, min(2 * SAMPLES, len(fleet.names)))
    seconds: dict[int, list[float]] = {0: [], 1: []}
    await fleet.mark_started(chosen)
    async with backlog(fleet) as queues:
        for number, name in enumerate(chosen):
            workers = number % 2
            seconds[workers].append(await _grow(queues, name, workers))
    figures = {
        **spread(seconds[0] + seconds[1]),
        **spread(seconds[0], "from_0_"),
        **spread(seconds[1], "from_1_"),
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=len(chosen), targets=TARGETS)


async def _grow(queues: Backlog, name: str, workers: int) -> float:
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    if workers:
        await queues.add(name, workers, replicas=workers)
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    seconds = await queues.add(name, MAX_REPLICAS - workers, replicas=MAX_REPLICAS)
    await queues.purge(name)
    return seconds
