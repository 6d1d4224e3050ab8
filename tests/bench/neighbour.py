"""What a namespace full of bad TaskQueues costs a good one, and what hostile input costs operator and workers."""

import random
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench import api_server, tls_endpoints, worker_cpu
from tests.bench.backlog import Backlog, backlog
from tests.bench.context import Context
from tests.bench.fleet import create_fleet
from tests.bench.operator_process import OperatorProcess, operator_process
from tests.bench.result import Result, Target, spread
from tests.bench.usage import Container
from tests.bench.wake import wake
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.e2e.hostile_neighbour import HostileNeighbour
from tests.e2e.installed_operator import InstalledOperator

SAMPLES: Final = 100
"""Wakes with the neighbour, and without; each TaskQueue wakes once, as scale-in takes longer."""
FEWEST_SAMPLES: Final = 60
"""A wake takes from 0 to 0.25 s more by chance, so the median of fewer says little."""
TARGETS: Final = {
    "wake_ratio": Target("<=", 1.5),
    "restarts": Target("<=", 0),
    "bad_taskqueues": Target(">=", 50),
    "tls_rss_mib": Target("<=", 256),
    "worker_cpu_ratio": Target("<=", 1.1),
}


async def run(context: Context) -> Result:
    """Measure the wake beside bad TaskQueues, the memory of many TLS endpoints, and the CPU of workers."""
    wakes = await measure_wakes(context)
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


async def measure_wakes(context: Context) -> Result:
    """Measure the wake from zero beside the neighbour, and alone: before the neighbour comes and after it has gone.

    So a machine that becomes faster or slower meanwhile changes both alike.
    """
    broker = context.broker()
    operator, neighbour = InstalledOperator(broker.cluster), HostileNeighbour(broker)
    samples = max(FEWEST_SAMPLES, SAMPLES * context.size // 1000)
    before = operator.restarts()
    async with create_fleet(broker, 2 * samples) as fleet, operator_process(broker.cluster) as process:
        await fleet.scale_to_zero()
        names = iter(random.sample(fleet.names, len(fleet.names)))
        async with backlog(fleet) as queues:
            wakes = _Wakes(queues, names, process)
            await wakes.measure("alone", samples // 2)
            async with _beside(neighbour) as bad:
                async with api_server.admin_client(broker.cluster) as client:
                    server = await Container.find(client, neighbour.namespace, "app=hostile")
                served = server.usage()
                await wakes.measure("beside", samples)
                server_cores = server.usage().cores_since(served)
            await wakes.measure("alone", samples - samples // 2)
    alone, beside = (spread(wakes.seconds[name], f"{name}_") for name in ("alone", "beside"))
    figures = {
        "wake_ratio": beside["beside_p50_s"] / alone["alone_p50_s"],
        **alone,
        **beside,
        **{f"operator_cores_{name}": max(cores) for name, cores in wakes.cores.items()},
        "bad_server_cores": server_cores,
        "restarts": operator.restarts() - before,
        "bad_taskqueues": bad,
    }
    return Result(figures, samples=samples)


@asynccontextmanager
async def _beside(neighbour: HostileNeighbour) -> AsyncIterator[int]:
    """Have the neighbour; the number of its bad TaskQueues."""
    try:
        await to_thread(neighbour.set_up)
        bad = await to_thread(neighbour.until_all_are_reported)
        step(f"{bad} bad TaskQueues beside the good ones")
        yield bad
    finally:
        await to_thread(neighbour.tear_down)
    await to_thread(neighbour.until_gone)


class _Wakes:
    """The durations of wakes, and the cores that the operator uses meanwhile."""

    def __init__(self, queues: Backlog, names: Iterator[str], operator: OperatorProcess) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.cores: dict[str, list[float]] = {}
        self._queues = queues
        self._names = names
        self._operator = operator

    async def measure(self, name: str, samples: int) -> None:
        """Wake so many TaskQueues, one after the other."""
        step(f"{samples} wakes {name}")
        before = self._operator.container.usage()
        seconds = [await wake(self._queues, next(self._names)) for _ in range(samples)]
        self.seconds.setdefault(name, []).extend(seconds)
        self.cores.setdefault(name, []).append(self._operator.container.usage().cores_since(before))
