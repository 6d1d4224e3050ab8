"""How late rounds of reading and deciding are done, with many TaskQueues awake and one core for the operator."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.operator import Operator, operator
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.cluster.progress import step

SECONDS = 180
TARGETS: Final = {"p95_ms": Target("<=", 75), "p99_ms": Target("<=", 150), "max_ms": Target("<=", 200)}
_METRIC = "taskqueue_decision_lateness_seconds"


async def run(setting: Setting) -> Result:
    """Take the operator's own histogram; the targets are bounds in it, so none of them is met or missed by rounding."""
    fleet = await setting.fleet()
    await fleet.awake()
    async with operator(fleet.stage.cluster) as it:
        with it.on_one_core():
            before = await _histogram(it)
            step(f"watching it read all for {SECONDS} s")
            await asyncio.sleep(SECONDS)
            ticks = (await _histogram(it)).since(before)
    if not ticks.count:
        raise RuntimeError(f"the operator tells of no round in {SECONDS} s: {_METRIC} stands still")
    figures = {
        "p95_ms": ticks.not_above(0.95) * 1000,
        "p99_ms": ticks.not_above(0.99) * 1000,
        "max_ms": ticks.not_above(1) * 1000,
        "mean_ms": ticks.sum / ticks.count * 1000,
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=round(ticks.count), targets=TARGETS)


@dataclass(frozen=True)
class Histogram:
    """How many durations were not above which bound, and all of them together, in seconds."""

    cumulated: Mapping[float, float]
    sum: float

    @property
    def count(self) -> float:
        """How many there were."""
        return self.cumulated.get(math.inf, 0)

    def since(self, before: "Histogram") -> "Histogram":
        """Leave out what was there before."""
        cumulated = {bound: count - before.cumulated.get(bound, 0) for bound, count in self.cumulated.items()}
        return Histogram(cumulated, self.sum - before.sum)

    def not_above(self, share: float) -> float:
        """Find the least bound that this share of them is known not to exceed."""
        bound = min(bound for bound, count in self.cumulated.items() if count >= share * self.count)
        return min(bound, self.sum)  # where no bucket ends: a single one is not longer than all together


async def _histogram(it: Operator) -> Histogram:
    buckets = await it.samples(f"{_METRIC}_bucket")
    total = await it.samples(f"{_METRIC}_sum")
    cumulated = {float(bucket.labels["le"]): bucket.value for bucket in buckets}
    return Histogram(cumulated, sum(sample.value for sample in total))
