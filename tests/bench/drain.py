"""How long workers take to be removed when idle, to undrain, and to requeue prefetched messages."""

from typing import Final

from tests.bench.benchmark_queue import benchmark_queue
from tests.bench.context import Context
from tests.bench.drain_samples import LEAST, MOST, remove_repeatedly, requeue, undrain_all
from tests.bench.pod_floor import pod_floors
from tests.bench.result import Result, Target, spread
from tests.cluster.progress import step
from tests.e2e.application import TASKQUEUE_WORKER

PREFETCHED: Final = 7
REMOVALS, UNDRAINS, REQUEUES = 15, 40, 20
"""Samples at full size; each removal and each undrain involves all workers but one."""
TARGETS: Final = {
    "idle_removed_p50_s": Target("<=", 2),
    "undrain_p99_s": Target("<=", 0.5),
    "requeue_max_s": Target("<=", 0.1),
}


async def run(context: Context) -> Result:
    """Measure one after the other."""
    broker = context.broker()
    removals, undrains, requeues = (max(3, count * context.size // 1000) for count in (REMOVALS, UNDRAINS, REQUEUES))
    floors = await pod_floors(broker, TASKQUEUE_WORKER, removals)
    async with benchmark_queue(broker, 1) as queue:
        removed = await remove_repeatedly(queue, removals)
        undrained = await undrain_all(queue, undrains)
        step(f"drained workers undrained {undrains} times")
    async with benchmark_queue(broker, PREFETCHED + 1) as queue:
        requeued = [await requeue(queue, PREFETCHED) for _ in range(requeues)]
    figures = {
        **spread(floors, "pod_floor_"),
        **spread([removal.deleted for removal in removed], "idle_removed_"),
        **spread([removal.terminating for removal in removed], "idle_terminating_"),
        **spread(undrained, "undrain_"),
        **spread(requeued, "requeue_"),
        "removals": len(removed),
        "workers_removed": MOST - LEAST,
        "undrains": len(undrained),
        "requeues": len(requeued),
    }
    return Result(figures, samples=len(removed) + len(undrained) + len(requeued), targets=TARGETS)
