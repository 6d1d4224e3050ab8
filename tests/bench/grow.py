"""From a backlog that needs 20 workers to 20 that are asked for, with many TaskQueues asleep."""

import asyncio
import random
from typing import Final

from tests.bench.backlog import Backlog, backlog
from tests.bench.fleet import MOST_WORKERS
from tests.bench.result import Result, Target, spread
from tests.bench.setting import Setting

SAMPLES = 25
"""From 0, and as many from 1."""
PAUSE_SECONDS = (0.75, 1.75)
"""As for waking: of any phase of a round, and after the twenty pods of the last sample."""
TARGETS: Final = {"p50_s": Target("<=", 0.6), "p99_s": Target("<=", 1.5)}


async def run(setting: Setting) -> Result:
    """Grow one TaskQueue after the other, each once, from 0 and from 1 by turns."""
    fleet = await setting.fleet()
    await fleet.asleep()
    chosen = random.sample(fleet.names, min(2 * SAMPLES, len(fleet.names)))
    seconds: dict[int, list[float]] = {0: [], 1: []}
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
    seconds = await queues.add(name, MOST_WORKERS - workers, replicas=MOST_WORKERS)
    await queues.purge(name)
    return seconds
