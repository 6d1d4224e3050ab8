"""How many tasks scaling and rollouts interrupt, with drained scale-ins and in two control groups without drain."""

from collections.abc import Mapping
from typing import Final

from tests.bench.context import Context
from tests.bench.managed_workers import ManagedWorkers
from tests.bench.result import Result, Target
from tests.bench.scenarios import Scenario, prefixed, run_scenarios
from tests.bench.unmanaged_workers import HANDLES_SIGTERM, IGNORES_SIGTERM, UnmanagedWorkers
from tests.bench.workload import Rhythm

TASKS_PER_SIZE: Final = 10
PERIOD_SECONDS: Final = 30.0
"""Between bursts: a rush takes some 10 s, and the operator uses the highest of its readings for 12 s more."""
ROLLOUTS: Final = 5
NO_HARM: Final = ("redelivered_after_start", "doubled", "lost", "removed_busy_pods", "failed_deliveries")

MANAGED: Final[Mapping[str, Scenario]] = {
    "prefetch_1": Scenario(
        ManagedWorkers(concurrency=1, prefetch=1, max_replicas=6, ready_per_replica=5), Rhythm(40, PERIOD_SECONDS)
    ),
    "prefetch_8": Scenario(
        ManagedWorkers(concurrency=4, prefetch=8, max_replicas=5, ready_per_replica=15), Rhythm(125, PERIOD_SECONDS, 10)
    ),
    "prefetching": Scenario(
        ManagedWorkers(concurrency=1, prefetch=8, max_replicas=4, ready_per_replica=5), Rhythm(35, PERIOD_SECONDS, 20)
    ),
}
CONTROLS: Final[Mapping[str, Scenario]] = {
    "control_grace": Scenario(
        UnmanagedWorkers(HANDLES_SIGTERM, concurrency=4, prefetch=8, max_replicas=3, ready_per_replica=10),
        Rhythm(60, PERIOD_SECONDS, 5),
    ),
    "control_ignores_sigterm": Scenario(
        UnmanagedWorkers(IGNORES_SIGTERM, concurrency=4, prefetch=8, max_replicas=3, ready_per_replica=10),
        Rhythm(60, PERIOD_SECONDS, 15),
    ),
}
TARGETS: Final = {
    "tasks": Target(">=", 10_000),
    "scale_ins": Target(">=", 200),
    "rollouts": Target(">=", ROLLOUTS),
    **{harm: Target("<=", 0) for harm in NO_HARM},
    "operator_removed_busy_pods": Target("<=", 0),
    "control_redelivered_after_start": Target(">=", 1),
    "control_removed_busy_pods": Target(">=", 1),
}


async def run(context: Context) -> Result:
    """Run all scenarios at the same time; the size sets the number of tasks for the managed workers."""
    bursts = -(-context.size * TASKS_PER_SIZE // sum(scenario.rhythm.burst for scenario in MANAGED.values()))
    outcome = await run_scenarios(context.broker(), {**MANAGED, **CONTROLS}, bursts, rollouts=ROLLOUTS)
    figures = {
        **outcome.total(MANAGED),
        **{f"operator_removed_{state}_pods": count for state, count in outcome.removed.items()},
        **prefixed("control_", outcome.total(CONTROLS)),
        "bursts": bursts,
    }
    for name, account in outcome.accounts.items():
        figures |= prefixed(f"{name}_", account)
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)
