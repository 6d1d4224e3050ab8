"""How late decisions are, with one worker for each of many TaskQueues and one core for the operator."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.context import Context
from tests.bench.operator_process import OperatorProcess, operator_process
from tests.bench.result import Result, Target
from tests.cluster.progress import step

SECONDS = 180
TARGETS: Final = {"p95_ms": Target("<=", 75), "p99_ms": Target("<=", 150), "max_ms": Target("<=", 200)}
_METRIC = "taskqueue_decision_lateness_seconds"


async def run(context: Context) -> Result:
    """Read the operator's own histogram. The targets are bucket bounds, so that rounding decides none of them."""
    fleet = await context.fleet()
    await fleet.scale_to_one()
    async with operator_process(fleet.cluster) as operator:
        with operator.on_one_core():
            before = await _histogram(operator)
            step(f"measuring for {SECONDS} s")
            await asyncio.sleep(SECONDS)
            ticks = (await _histogram(operator)).since(before)
    if not ticks.count:
        raise RuntimeError(f"no decision in {SECONDS} s: {_METRIC} does not change")
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
    """Cumulative counts of durations by bucket bound, and the sum of all durations, in seconds."""

    cumulated: Mapping[float, float]
    sum: float

    @property
    def count(self) -> float:
        """Count all durations."""
        return self.cumulated.get(math.inf, 0)

    def since(self, before: "Histogram") -> "Histogram":
        """Subtract an earlier histogram."""
        cumulated = {bound: count - before.cumulated.get(bound, 0) for bound, count in self.cumulated.items()}
        return Histogram(cumulated, self.sum - before.sum)

    def not_above(self, share: float) -> float:
        """Return the lowest bound that this share of the durations does not exceed."""
        bound = min(bound for bound, count in self.cumulated.items() if count >= share * self.count)
        return min(bound, self.sum)  # beyond the last bucket: one duration is not longer than all of them together


async def _histogram(operator: OperatorProcess) -> Histogram:
    buckets = await operator.samples(f"{_METRIC}_bucket")
    total = await operator.samples(f"{_METRIC}_sum")
    cumulated = {float(bucket.labels["le"]): bucket.value for bucket in buckets}
    return Histogram(cumulated, sum(sample.value for sample in total))
