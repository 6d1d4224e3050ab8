"""How long it takes workers to go when they may, to come back when they are needed, and to let go of what they hold."""

import asyncio
import os
import random
import signal
import time
from typing import Final, NamedTuple

from tests.bench.result import Result, Target, spread
from tests.bench.setting import Setting
from tests.bench.station import Station, station
from tests.bench.waiting import eventually
from tests.cluster.progress import step

MOST, LEAST = 5, 1
"""Workers before and after. The last one would have to wait for proof that the queue is empty."""
STEADY_SECONDS: Final = (12.0, 15.0)
"""After a start: what the API shows of a pod's readiness is not believed for the first 10 s."""
PAUSE_SECONDS: Final = (0.8, 1.8)
"""Until what was asked for last has come to rest."""
RETURN_SECONDS: Final = 3.0
"""That one drain and its end take at most, for all tasks to outlast all drains."""
HOARD: Final = 7
HELD_SECONDS: Final = 4.0
"""How long the task takes behind which the hoard waits."""
PATIENCE_SECONDS: Final = 60

REMOVALS, RETURNS, HOARDS = 15, 40, 20
"""How often each is tried at full size; each removal takes, and each return brings back, all workers but one."""
TARGETS: Final = {
    "idle_removed_p50_s": Target("<=", 2),
    "undrain_p99_s": Target("<=", 0.5),
    "hoard_back_max_s": Target("<=", 0.1),
}


class Removal(NamedTuple):
    """Seconds from the moment fewer workers are asked for until the last one that goes is told to, and is gone."""

    ordered: float
    gone: float


async def run(setting: Setting) -> Result:
    """Try one after the other."""
    stage = setting.stage()
    removals, returns, hoards = (max(3, count * setting.size // 1000) for count in (REMOVALS, RETURNS, HOARDS))
    async with station(stage, prefetch=1) as place:
        removed = [await _remove(place) for _ in range(removals)]
        step(f"{removals} times idle workers went")
        returned = await _return_all(place, returns)
        step(f"{returns} times drained workers came back")
    async with station(stage, prefetch=HOARD + 1) as place:
        requeued = [await _give_back(place) for _ in range(hoards)]
    figures = {
        **spread([removal.gone for removal in removed], "idle_removed_"),
        **spread([removal.ordered for removal in removed], "idle_ordered_"),
        **spread(returned, "undrain_"),
        **spread(requeued, "hoard_back_"),
        "removals": len(removed),
        "workers_removed": MOST - LEAST,
        "returns": len(returned),
        "hoards": len(requeued),
    }
    return Result(figures, samples=len(removed) + len(returned) + len(requeued), targets=TARGETS)


async def _remove(place: Station) -> Removal:
    """Have idle workers go because fewer are asked for."""
    seen = place.sightings
    await place.ask(MOST, MOST)
    await place.reports.until(MOST, "consuming")
    await asyncio.sleep(random.uniform(*STEADY_SECONDS))
    before, began = set(seen.gone), time.time()
    await place.ask(LEAST, MOST)

    async def gone() -> bool:
        return len(seen.gone.keys() - before) == MOST - LEAST

    await eventually(gone, "idle workers are gone", seconds=PATIENCE_SECONDS, every=0.02)
    those = seen.gone.keys() - before
    return Removal(max(seen.departures[pod].at for pod in those) - began, max(seen.gone[pod] for pod in those) - began)


async def _return_all(place: Station, times: int) -> list[float]:
    """Ask busy workers to go and call them back, again and again; the seconds until each one consumes anew."""
    await place.ask(MOST, MOST)
    await place.reports.until(MOST, "consuming")
    await place.publish(MOST, seconds=times * RETURN_SECONDS)
    return [seconds for _ in range(times) for seconds in await _return(place)]


async def _return(place: Station) -> list[float]:
    await place.ask(LEAST, LEAST)
    drained = await place.reports.until(MOST - LEAST, "draining")
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    began = time.monotonic()
    await place.ask(MOST, MOST)
    consuming = await place.reports.until(MOST, "consuming")
    return [consuming[pod] - began for pod in drained]


async def _give_back(place: Station) -> float:
    """Send SIGTERM to a worker that runs one task and holds more; the seconds until all these are in the queue."""
    await place.reports.until(1, "consuming")
    await place.until_ready(0)
    await place.publish(1, seconds=HELD_SECONDS)
    await place.publish(HOARD, seconds=0.01)
    await place.until_ready(0)
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    worker = await place.only_pod()
    process, began = worker.processes()[0], time.monotonic()
    os.kill(process, signal.SIGTERM)
    await place.until_ready(HOARD)
    seconds = time.monotonic() - began
    # Not left to the kubelet, which starts a container that ended again later and later.
    await place.replace(worker.pod)
    return seconds
