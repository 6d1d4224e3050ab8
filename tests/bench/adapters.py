"""What runtimes that join by an adapter are measured by: harm to its tasks, latencies, and cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tests.bench.adapter_cost import adapter_cost
from tests.bench.benchmark_queue import benchmark_queue
from tests.bench.drain_samples import Removal, remove_repeatedly, undrain_all
from tests.bench.managed_workers import ManagedWorkers
from tests.bench.pod_floor import pod_floors
from tests.bench.result import Target, spread
from tests.bench.runtime import SLOTS, Runtime, Setting
from tests.bench.scenarios import Outcome, Scenario, prefixed, run_scenarios
from tests.bench.unmanaged_workers import UnmanagedWorkers
from tests.bench.workload import Rhythm
from tests.e2e.application import TASKQUEUE_WORKER
from tests.e2e.cluster_broker import ClusterBroker

Runtimes = Mapping[str, Runtime]
"""What is measured side by side, by the prefix of its figures."""
Settings = Sequence[tuple[Runtime, Setting]]

TAIL: Final = 0.8
"""The mean of the durations is 0.6 s; one task in 400 takes above 30 s."""
CONTROL_TAIL: Final = 0.5
"""The mean is 1.7 s; one task in 81 takes above 30 s. A worker that ends in order harms only tasks that take longer
than the grace period, and a control has few scale-ins."""
ROLLOUTS: Final = 5
MOST, READY_PER_WORKER = 3, 10
FLOORS, REMOVALS, UNDRAINS = 12, 4, 10
"""Samples at full size: of the cluster, and of each setting; each involves several pods."""
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
OPERATOR_TARGETS: Final = {"operator_removed_busy": Target("<=", 0)}
TARGETS: Final = {
    "doubled": Target("<=", 0),
    "lost": Target("<=", 0),
    "redelivered_after_start": Target("<=", 0),
    "busy_removed": Target("<=", 0),
    "rollouts": Target(">=", ROLLOUTS),
    "prefetched_back_max_s": Target("<=", 0.2),
    "idle_removed_p50_s": Target("<=", 2),
    "undrain_p99_s": Target("<=", 0.5),
    "cpu_ratio": Target("<=", 1.05),
    "control_harm": Target(">=", 1),
    "control_busy_removed": Target(">=", 1),
}
"""Of each runtime."""


async def measure(
    broker: ClusterBroker, runtimes: Runtimes, rhythm: Rhythm, *, tasks: int, size: int
) -> dict[str, float]:
    """Measure with so many tasks of each runtime; `size` is 1000 for the full number of samples of all else."""
    figures = await _harm(broker, runtimes, rhythm, tasks)
    figures |= await _latencies(broker, runtimes, size)
    for prefix, runtime in runtimes.items():
        figures |= prefixed(prefix, await adapter_cost(runtime, size))
    return figures


async def _harm(broker: ClusterBroker, runtimes: Runtimes, rhythm: Rhythm, tasks: int) -> dict[str, float]:
    """Run all settings side by side, and beside them plain Deployments that are scaled as an HPA does it."""
    settings = [(runtime, setting) for runtime in runtimes.values() for setting in runtime.settings]
    managed, controls = _managed(settings, rhythm), _controls(settings, rhythm)
    bursts = -(-tasks * len(runtimes) // (rhythm.burst * len(settings)))
    outcome = await run_scenarios(broker, managed | controls, bursts, rollouts=ROLLOUTS)
    figures = {f"operator_removed_{state}": count for state, count in outcome.removed.items()}
    for prefix, runtime in runtimes.items():
        names = [_name(runtime, setting) for setting in runtime.settings]
        figures |= prefixed(prefix, harm(outcome, names, [f"control_{name}" for name in names]))
    return figures


def harm(outcome: Outcome, managed: Iterable[str], controls: Iterable[str]) -> dict[str, float]:
    """Return the figures of the runs with the adapter, and those of the runs without it."""
    control = _figures(outcome, (name for name in controls if name in outcome.accounts))
    return {
        **_figures(outcome, managed),
        **prefixed("control_", control),
        "control_harm": control["doubled"] + control["lost"] + control["redelivered_after_start"],
    }


def _name(runtime: Runtime, setting: Setting) -> str:
    return f"{runtime.name}_{setting.name}"


def _managed(settings: Settings, rhythm: Rhythm) -> dict[str, Scenario]:
    """One TaskQueue for each setting."""
    return {
        _name(runtime, setting): Scenario(
            ManagedWorkers(
                SLOTS, setting.prefetch, MOST, READY_PER_WORKER, application=runtime.application(setting, adapted=True)
            ),
            _shifted(rhythm, number / len(settings)),
        )
        for number, (runtime, setting) in enumerate(settings)
    }


def _controls(settings: Settings, rhythm: Rhythm) -> dict[str, Scenario]:
    """An HPA keeps one worker; at zero, a task longer than the grace period would be interrupted again and again."""
    return {
        f"control_{_name(runtime, setting)}": Scenario(
            UnmanagedWorkers(
                runtime.pod_command(adapted=False),
                SLOTS,
                setting.prefetch,
                MOST,
                READY_PER_WORKER,
                min_replicas=1,
                application=runtime.application(setting, adapted=False),
            ),
            _shifted(replace(rhythm, tail=CONTROL_TAIL), (number + 0.5) / len(settings)),
        )
        for number, (runtime, setting) in enumerate(settings)
        if setting.has_control
    }


def _shifted(rhythm: Rhythm, phase: float) -> Rhythm:
    """Return the rhythm with a phase that is this share of the period, so that the bursts take turns."""
    return replace(rhythm, phase=phase * rhythm.period)


def _figures(outcome: Outcome, scenarios: Iterable[str]) -> dict[str, float]:
    total = outcome.total(scenarios)
    return {figure: total[name] for figure, name in FIGURES.items()}


async def _latencies(broker: ClusterBroker, runtimes: Runtimes, size: int) -> dict[str, float]:
    """Measure one setting after the other: the pods of others would use the CPU that the kubelet needs."""
    floors, removals, undrains = (max(2, count * size // 1000) for count in (FLOORS, REMOVALS, UNDRAINS))
    figures = spread(await pod_floors(broker, TASKQUEUE_WORKER, floors), "pod_floor_")
    for prefix, runtime in runtimes.items():
        removed: list[Removal] = []
        undrained: list[float] = []
        for setting in runtime.settings:
            application = runtime.application(setting, adapted=True)
            async with benchmark_queue(broker, setting.prefetch, application) as queue:
                removed += await remove_repeatedly(queue, removals)
                undrained += await undrain_all(queue, undrains)
        figures |= prefixed(prefix, _spreads(removed, undrained))
    return figures


def _spreads(removed: Sequence[Removal], undrained: Sequence[float]) -> dict[str, float]:
    return {
        **spread([removal.deleted for removal in removed], "idle_removed_"),
        **spread([removal.terminating for removal in removed], "idle_terminating_"),
        **spread(undrained, "undrain_"),
        "removals": len(removed),
        "undrains": len(undrained),
    }
