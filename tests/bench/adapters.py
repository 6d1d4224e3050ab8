"""What a runtime that joins by an adapter is measured by: harm to its tasks, latencies, and cost."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.adapter_cost import adapter_cost
from tests.bench.benchmark_queue import benchmark_queue
from tests.bench.drain_samples import remove_idle, start_all, undrain_all
from tests.bench.managed_workers import ManagedWorkers
from tests.bench.result import Target, spread
from tests.bench.runtime import SLOTS, Runtime
from tests.bench.scenarios import Outcome, Scenario, prefixed, run_scenarios
from tests.bench.unmanaged_workers import UnmanagedWorkers
from tests.bench.workload import Rhythm
from tests.cluster.progress import step
from tests.e2e.cluster_broker import ClusterBroker

BURST: Final = 84
PERIOD_SECONDS: Final = 24.0
"""Between bursts: a rush takes some 8 s, and the operator uses the highest of its readings for 12 s more."""
TAIL: Final = 0.8
"""The mean of the durations is 0.6 s; one task in 400 takes above 30 s."""
ROLLOUTS: Final = 5
MOST, READY_PER_WORKER = 3, 10
REMOVALS, UNDRAINS = 4, 10
"""Samples at full size, for each setting; each involves several workers."""
FIGURES: Final = {
    "tasks": "tasks",
    "doubled": "doubled",
    "lost": "lost",
    "redelivered_after_start": "redelivered_after_start",
    "failed_deliveries": "failed_deliveries",
    "busy_removed": "removed_busy_pods",
    "removed": "removed_pods",
    "scale_ins": "scale_ins",
    "rollouts": "rollouts",
}
"""The figures of a run by their names in its account."""
TARGETS: Final = {
    "doubled": Target("<=", 0),
    "lost": Target("<=", 0),
    "redelivered_after_start": Target("<=", 0),
    "busy_removed": Target("<=", 0),
    "operator_removed_busy": Target("<=", 0),
    "rollouts": Target(">=", ROLLOUTS),
    "prefetched_back_max_s": Target("<=", 0.2),
    "idle_removed_p50_s": Target("<=", 2),
    "undrain_p99_s": Target("<=", 0.5),
    "cpu_ratio": Target("<=", 1.05),
    "control_harm": Target(">=", 1),
    "control_busy_removed": Target(">=", 1),
}


async def measure(broker: ClusterBroker, runtime: Runtime, *, tasks: int, size: int) -> dict[str, float]:
    """Measure one runtime with so many tasks; `size` is 1000 for the full number of samples of all else."""
    return {
        **await _harm(broker, runtime, tasks),
        **await _latencies(broker, runtime, size),
        **await adapter_cost(runtime, size),
    }


async def _harm(broker: ClusterBroker, runtime: Runtime, tasks: int) -> dict[str, float]:
    """Run all settings side by side, and beside them plain Deployments that are scaled as an HPA does it."""
    managed, controls = _managed(runtime), _controls(runtime)
    bursts = -(-tasks // (BURST * len(managed)))
    return harm(await run_scenarios(broker, managed | controls, bursts, rollouts=ROLLOUTS), managed, controls)


def harm(outcome: Outcome, managed: Iterable[str], controls: Iterable[str]) -> dict[str, float]:
    """Return the figures of the runs with the adapter, and those of the runs without it."""
    control = _figures(outcome, controls)
    return {
        **_figures(outcome, managed),
        **{f"operator_removed_{state}": count for state, count in outcome.removed.items()},
        **prefixed("control_", control),
        "control_harm": control["doubled"] + control["lost"] + control["redelivered_after_start"],
    }


def _managed(runtime: Runtime) -> dict[str, Scenario]:
    """One TaskQueue for each setting."""
    return {
        f"{runtime.name}_{setting.name}": Scenario(
            ManagedWorkers(
                SLOTS, setting.prefetch, MOST, READY_PER_WORKER, application=runtime.application(setting, adapted=True)
            ),
            _rhythm(number / len(runtime.settings)),
        )
        for number, setting in enumerate(runtime.settings)
    }


def _controls(runtime: Runtime) -> dict[str, Scenario]:
    """An HPA keeps one worker; at zero, a task longer than the grace period would be interrupted again and again."""
    settings = [setting for setting in runtime.settings if setting.has_control]
    return {
        f"control_{runtime.name}_{setting.name}": Scenario(
            UnmanagedWorkers(
                runtime.pod_command(adapted=False),
                SLOTS,
                setting.prefetch,
                MOST,
                READY_PER_WORKER,
                min_replicas=1,
                application=runtime.application(setting, adapted=False),
            ),
            _rhythm((number + 0.5) / len(runtime.settings)),
        )
        for number, setting in enumerate(settings)
    }


def _rhythm(phase: float) -> Rhythm:
    return Rhythm(BURST, PERIOD_SECONDS, phase * PERIOD_SECONDS, TAIL)


def _figures(outcome: Outcome, scenarios: Iterable[str]) -> dict[str, float]:
    total = outcome.total(scenarios)
    return {figure: total[name] for figure, name in FIGURES.items()}


async def _latencies(broker: ClusterBroker, runtime: Runtime, size: int) -> dict[str, float]:
    """Start the workers of all settings side by side, and remove them one setting after the other."""
    removals, undrains = (max(2, count * size // 1000) for count in (REMOVALS, UNDRAINS))
    async with AsyncExitStack() as stack:
        queues = []
        for setting in runtime.settings:
            application = runtime.application(setting, adapted=True)
            queues.append(await stack.enter_async_context(benchmark_queue(broker, setting.prefetch, application)))
        removed = []
        for _ in range(removals):
            await asyncio.gather(*map(start_all, queues))
            removed += [await remove_idle(queue) for queue in queues]
        step(f"idle workers removed {len(removed)} times")
        undrained = [seconds for queue in queues for seconds in await undrain_all(queue, undrains)]
    return {
        **spread([removal.deleted for removal in removed], "idle_removed_"),
        **spread([removal.terminating for removal in removed], "idle_terminating_"),
        **spread(undrained, "undrain_"),
        "removals": len(removed),
        "undrains": len(undrained),
    }
