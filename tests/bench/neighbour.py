"""What a namespace full of bad TaskQueues costs a good one, and what hostile input costs operator and workers."""

import random
from asyncio import to_thread
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench import tls_endpoints, worker_cpu
from tests.bench.backlog import Backlog, backlog
from tests.bench.context import Context
from tests.bench.fleet import create_fleet
from tests.bench.result import Result, Target, spread
from tests.bench.wake import wake
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.e2e.hostile_neighbour import HostileNeighbour
from tests.e2e.installed_operator import InstalledOperator

SAMPLES: Final = 100
"""Wakes with the neighbour, and without; each TaskQueue wakes once, as scale-in takes longer."""
TARGETS: Final = {
    "wake_ratio": Target("<=", 1.5),
    "restarts": Target("<=", 0),
    "bad_taskqueues": Target(">=", 50),
    "tls_rss_mib": Target("<=", 256),
    "worker_cpu_ratio": Target("<=", 1.1),
}


async def run(context: Context) -> Result:
    """Measure the wake beside bad TaskQueues, the memory of many TLS endpoints, and the CPU of workers."""
    wakes = await _wakes(context)
    workers = await worker_cpu.measure(worker_cpu.BASELINE, tasks=3 * context.size)
    figures = {
        **wakes.figures,
        "tls_rss_mib": await to_thread(_tls_rss_mib),
        "worker_cpu_ratio": workers.figures["worker_cpu_ratio"],
    }
    return Result(figures, samples=wakes.samples, targets=TARGETS)


def _tls_rss_mib() -> float:
    with TemporaryDirectory() as directory, Broker.start(Path(directory, "broker"), tls=True) as broker:
        return tls_endpoints.memory_mib(broker)


async def _wakes(context: Context) -> Result:
    """Measure the wake from zero alone, and beside the neighbour."""
    broker = context.broker()
    operator, neighbour = InstalledOperator(broker.cluster), HostileNeighbour(broker)
    samples = max(3, SAMPLES * context.size // 1000)
    before = operator.restarts()
    async with create_fleet(broker, 2 * samples) as fleet:
        await fleet.scale_to_zero()
        names = random.sample(fleet.names, len(fleet.names))
        async with backlog(fleet) as queues:
            alone = await _wake_each(queues, names[:samples])
            try:
                await to_thread(neighbour.set_up)
                bad = await to_thread(neighbour.until_all_are_reported)
                step(f"{bad} bad TaskQueues beside the good ones")
                beside = await _wake_each(queues, names[samples:])
            finally:
                await to_thread(neighbour.tear_down)
    figures = {
        **spread(alone, "alone_"),
        **spread(beside, "beside_"),
        "restarts": operator.restarts() - before,
        "bad_taskqueues": bad,
    }
    figures["wake_ratio"] = figures["beside_p50_s"] / figures["alone_p50_s"]
    return Result(figures, samples=samples)


async def _wake_each(queues: Backlog, names: Sequence[str]) -> list[float]:
    return [await wake(queues, name) for name in names]
