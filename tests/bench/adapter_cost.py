"""What an adapter costs and gives, of workers on this machine: each figure with it, and without it."""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.local_queue import LocalQueue, local_queue
from tests.bench.runtime import SLOTS, Runtime, Setting
from tests.bench.worker_process import WorkerProcess, worker_process

TASK_SECONDS: Final = 4.0
"""The duration of the tasks behind which the prefetched messages wait."""
PAUSE_SECONDS: Final = (0.3, 1.3)
"""Before SIGTERM, so that it finds the worker at any point of its loop."""
SETTLE_SECONDS, IDLE_CPU_SECONDS = 0.3, 0.01
"""A worker that uses less CPU in this time runs nothing."""
WARM_UP_TASKS: Final = 200
PAIRS, SAMPLES = 24, 5
"""Pairs of runs, in turn for each setting, and terminations for each setting, at full size."""
TASKS: Final = 4000
"""For each run at full size. The ratios of pairs with 2000 tasks have a standard deviation of 9 %, with 8000 of 5 %."""


class AdapterCost:
    """Measures one runtime."""

    def __init__(self, runtime: Runtime, queue: LocalQueue, directory: Path) -> None:
        self._runtime = runtime
        self._queue = queue
        self._directory = directory
        self._numbers = itertools.count()

    async def prefetched_back(self, *, adapted: bool, samples: int) -> float:
        """Return the longest time, in seconds, after SIGTERM until all prefetched messages are ready again."""
        settings = [setting for setting in self._runtime.settings if setting.prefetched]
        return max(
            [await self._prefetched_back(setting, adapted=adapted) for setting in settings for _ in range(samples)]
        )

    async def cpu(self, *, pairs: int, tasks: int) -> dict[str, float]:
        """Return the CPU for each task with the adapter and without, and their ratio: medians of pairs of runs.

        The spread is the standard deviation of the ratios of the pairs.
        """
        settings = itertools.islice(itertools.cycle(self._runtime.settings), pairs)
        found = [await self._pair(setting, tasks) for setting in settings]
        ratios = [adapted / plain for adapted, plain in found]
        return {
            "cpu_ratio": statistics.median(ratios),
            "cpu_ratio_spread": statistics.stdev(ratios),
            "cpu_us": statistics.median(adapted for adapted, _ in found),
            "control_cpu_us": statistics.median(plain for _, plain in found),
        }

    async def _prefetched_back(self, setting: Setting, *, adapted: bool) -> float:
        await self._queue.declare()
        with self._worker(setting, adapted=adapted) as worker:
            await self._queue.until_consumed()
            await self._queue.publish(self._runtime, SLOTS, seconds=TASK_SECONDS)
            await self._queue.until_ready(0)
            await self._queue.publish(self._runtime, setting.prefetched, seconds=TASK_SECONDS)
            await self._queue.until_ready(0)
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            start = time.monotonic()
            worker.terminate()
            await self._queue.until_returned(setting.prefetched)
            return time.monotonic() - start

    async def _pair(self, setting: Setting, tasks: int) -> tuple[float, float]:
        found = {}
        for adapted in random.sample((True, False), 2):  # neither is always the first
            found[adapted] = await self._cpu_microseconds(setting, tasks, adapted=adapted)
        return found[True], found[False]

    async def _cpu_microseconds(self, setting: Setting, tasks: int, *, adapted: bool) -> float:
        await self._queue.declare()
        with self._worker(setting, adapted=adapted) as worker:
            await self._queue.until_consumed()
            before = await self._spent(worker, WARM_UP_TASKS)
            return (await self._spent(worker, tasks) - before) / tasks * 1e6

    async def _spent(self, worker: WorkerProcess, tasks: int) -> float:
        """Return the CPU that the worker has used when so many further tasks are done."""
        await self._queue.publish(self._runtime, tasks, seconds=0)
        await self._queue.until_ready(0)
        spent = 0.0
        while spent + IDLE_CPU_SECONDS < (spent := worker.cpu_seconds()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(SETTLE_SECONDS)
        return spent

    @contextmanager
    def _worker(self, setting: Setting, *, adapted: bool) -> Iterator[WorkerProcess]:
        directory = self._directory / f"worker-{next(self._numbers)}"
        directory.mkdir()
        with worker_process(self._runtime, setting, self._queue.url, directory, adapted=adapted) as worker:
            yield worker


async def adapter_cost(runtime: Runtime, size: int) -> dict[str, float]:
    """Measure; at the full size of 1000, some minutes."""
    pairs, samples = (max(least, count * size // 1000) for least, count in ((2, PAIRS), (1, SAMPLES)))
    with TemporaryDirectory() as temporary:
        async with local_queue(Path(temporary)) as queue:
            cost = AdapterCost(runtime, queue, Path(temporary))
            figures = await cost.cpu(pairs=pairs, tasks=TASKS * size // 1000)
            if any(setting.prefetched for setting in runtime.settings):
                figures |= {
                    "prefetched_back_max_s": await cost.prefetched_back(adapted=True, samples=samples),
                    "control_prefetched_back_max_s": await cost.prefetched_back(adapted=False, samples=1),
                }
            return figures
