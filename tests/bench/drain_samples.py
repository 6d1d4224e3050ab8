"""One sample of each: idle workers that are removed, drained ones that consume again, and messages that come back."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Collection
from typing import Final, NamedTuple

from tests.bench.benchmark_queue import BenchmarkQueue
from tests.bench.pod_history import PodHistory
from tests.bench.polling import eventually
from tests.cluster.progress import step

MOST, LEAST = 5, 1
"""Workers before and after a removal. The last one would wait for proof that the queue is empty."""
STEADY_SECONDS: Final = (12.0, 15.0)
"""After a start: the operator ignores the readiness of a pod for the first 10 s."""
PAUSE_SECONDS: Final = (0.8, 1.8)
"""Between samples, so that the last command has settled."""
UNDRAIN_SECONDS: Final = 3.0
"""An upper bound for one drain and undrain, so that the tasks outlast all of them."""
TASK_SECONDS: Final = 4.0
"""The duration of the task behind which the prefetched messages wait."""
TIMEOUT_SECONDS: Final = 60
START_SECONDS: Final = 180
"""Many pods may start at once."""


class Removal(NamedTuple):
    """Seconds from lower bounds until the last removed pod begins to terminate, and until it is deleted."""

    terminating: float
    deleted: float


async def start_all(queue: BenchmarkQueue) -> None:
    """Start all workers, and wait until the operator acts on their readiness."""
    await queue.set_bounds(MOST, MOST)
    await queue.reports.until(MOST, "consuming", seconds=START_SECONDS)
    await asyncio.sleep(random.uniform(*STEADY_SECONDS))


async def remove_repeatedly(queue: BenchmarkQueue, times: int) -> list[Removal]:
    """Start all workers and remove the idle ones, several times."""
    removed = []
    for _ in range(times):
        await start_all(queue)
        removed.append(await remove_idle(queue))
    step(f"idle workers removed {times} times")
    return removed


async def remove_idle(queue: BenchmarkQueue) -> Removal:
    """Scale idle workers in by lower bounds."""
    history = queue.history
    before, start = set(history.deleted_at), time.time()
    await queue.set_bounds(LEAST, MOST)
    deleted = await last_deletion(history, before)
    terminating = max(history.removals[pod].at for pod in history.deleted_at.keys() - before)
    return Removal(terminating - start, deleted - start)


async def last_deletion(history: PodHistory, before: Collection[str]) -> float:
    """Wait until all removed pods are deleted besides those `before`; return when the last one was."""

    async def deleted() -> bool:
        return len(history.deleted_at.keys() - before) == MOST - LEAST

    await eventually(deleted, "the idle pods are deleted", seconds=TIMEOUT_SECONDS, every=0.02)
    return max(history.deleted_at[pod] for pod in history.deleted_at.keys() - before)


async def undrain_all(queue: BenchmarkQueue, times: int) -> list[float]:
    """Drain and undrain busy workers repeatedly; return the seconds until each one consumes again."""
    await queue.set_bounds(MOST, MOST)
    await queue.reports.until(MOST, "consuming", seconds=START_SECONDS)
    await queue.publish(MOST, seconds=times * UNDRAIN_SECONDS)
    return [seconds for _ in range(times) for seconds in await _undrain(queue)]


async def _undrain(queue: BenchmarkQueue) -> list[float]:
    await queue.set_bounds(LEAST, LEAST)
    drained = await queue.reports.until(MOST - LEAST, "draining")
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    start = time.monotonic()
    await queue.set_bounds(MOST, MOST)
    consuming = await queue.reports.until(MOST, "consuming")
    return [consuming[pod] - start for pod in drained]


async def requeue(queue: BenchmarkQueue, prefetched: int) -> float:
    """Send SIGTERM to a worker with one task and more messages; return the seconds until all of these are requeued."""
    await queue.reports.until(1, "consuming")
    await queue.until_ready(0)
    await queue.publish(1, seconds=TASK_SECONDS)
    await queue.publish(prefetched, seconds=0.01)
    await queue.until_ready(0)
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    worker = await queue.only_pod()
    process, start = worker.processes()[0], time.monotonic()
    os.kill(process, signal.SIGTERM)
    await queue.until_ready(prefetched)
    seconds = time.monotonic() - start
    # A new pod: the kubelet waits longer before each further restart of a container.
    await queue.replace(worker.pod)
    return seconds
