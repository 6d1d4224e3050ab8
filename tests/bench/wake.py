"""The time from a confirmed message to the first replica, with many TaskQueues at zero."""

import asyncio
import random
import time
from typing import Final

from tests.bench.backlog import Backlog, backlog
from tests.bench.context import Context
from tests.bench.result import Result, Target, spread

SAMPLES = 200
BURST = 100
PAUSE_SECONDS = (0.4, 0.9)
"""So that samples hit any phase of a round, and other controllers finish the last sample."""
TARGETS: Final = {"p50_s": Target("<=", 0.2), "p99_s": Target("<=", 0.6), "burst_max_s": Target("<=", 1.5)}


async def run(context: Context) -> Result:
    """Scale one TaskQueue after the other from zero, then many at once; each once, as scale-in takes longer."""
    fleet = await context.fleet()
    await fleet.scale_to_zero()
    chosen = random.sample(fleet.names, min(SAMPLES + BURST, len(fleet.names)))
    singles, burst = chosen[BURST:], chosen[:BURST]
    async with backlog(fleet) as queues:
        seconds = [await wake(queues, name) for name in singles]
        await fleet.scale_to_zero()
        together = await _wake_at_once(queues, burst)
    figures = {
        **spread(seconds),
        "burst_p50_s": sorted(together)[len(together) // 2],
        "burst_max_s": max(together),
        "burst": len(burst),
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=len(seconds), targets=TARGETS)


async def wake(queues: Backlog, name: str) -> float:
    """Return the seconds from the confirm of one message until its TaskQueue, at zero before, has a replica."""
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    seconds = await queues.add(name, 1, replicas=1)
    await queues.purge(name)
    return seconds


async def _wake_at_once(queues: Backlog, names: list[str]) -> list[float]:
    """Measure all from the moment the first message is sent."""
    began = time.monotonic()

    async def wake_one(name: str) -> float:
        await queues.add(name, 1, replicas=1)
        return time.monotonic() - began

    together = await asyncio.gather(*map(wake_one, names))
    for name in names:
        await queues.purge(name)
    return together
