"""From a confirmed message to the first worker that is asked for, with many TaskQueues asleep."""

import asyncio
import random
import time
from typing import Final

from tests.bench.backlog import Backlog, backlog
from tests.bench.result import Result, Target, spread
from tests.bench.setting import Setting

SAMPLES = 200
BURST = 100
PAUSE_SECONDS = (0.4, 0.9)
"""Between samples: any phase of the operator's rounds, and time for the other controllers to finish with the last."""
TARGETS: Final = {"p50_s": Target("<=", 0.2), "p99_s": Target("<=", 0.6), "burst_max_s": Target("<=", 1.5)}


async def run(setting: Setting) -> Result:
    """Wake one sleeper after the other, then many at once, each once: to fall asleep takes longer than a sample."""
    fleet = await setting.fleet()
    await fleet.asleep()
    chosen = random.sample(fleet.names, min(SAMPLES + BURST, len(fleet.names)))
    ones, burst = chosen[BURST:], chosen[:BURST]
    async with backlog(fleet) as queues:
        seconds = [await _wake(queues, name) for name in ones]
        await fleet.asleep()
        together = await _wake_at_once(queues, burst)
    figures = {
        **spread(seconds),
        "burst_p50_s": sorted(together)[len(together) // 2],
        "burst_max_s": max(together),
        "burst": len(burst),
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=len(seconds), targets=TARGETS)


async def _wake(queues: Backlog, name: str) -> float:
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    seconds = await queues.add(name, 1, replicas=1)
    await queues.purge(name)
    return seconds


async def _wake_at_once(queues: Backlog, names: list[str]) -> list[float]:
    """Count all from the moment the first message is sent."""
    began = time.monotonic()

    async def wake(name: str) -> float:
        await queues.add(name, 1, replicas=1)
        return time.monotonic() - began

    together = await asyncio.gather(*map(wake, names))
    for name in names:
        await queues.purge(name)
    return together
