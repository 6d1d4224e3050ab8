"""How many tasks of unmodified Celery prefork workers scaling interrupts: with the operator, and as with an HPA."""

from collections.abc import Mapping
from typing import Final

from tests.bench.context import Context
from tests.bench.managed_workers import ManagedWorkers
from tests.bench.result import Result, Target
from tests.bench.scenarios import Scenario, prefixed, run_scenarios
from tests.bench.unmanaged_workers import UnmanagedWorkers
from tests.bench.workload import Rhythm
from tests.e2e.application import NAME, celery

RHYTHM: Final = Rhythm(50, 45.0)
"""Between bursts, time for two consumer snapshots, 7 s apart, after the 12 s window of readings."""
CONTROL_RHYTHM: Final = Rhythm(RHYTHM.burst, RHYTHM.period, phase=20)
CELERY: Final = celery(NAME, declared=True)
FIGURES: Final = (
    "tasks",
    "redelivered",
    "redelivered_after_start",
    "failed_deliveries",
    "doubled",
    "lost",
    "scale_ins",
    "removed_pods",
    "removed_busy_pods",
)

MANAGED: Final = Scenario(
    ManagedWorkers(concurrency=2, prefetch=2, max_replicas=4, ready_per_replica=10, application=CELERY, exchange=NAME),
    RHYTHM,
)
CONTROL: Final = Scenario(
    UnmanagedWorkers(
        CELERY.command,
        concurrency=2,
        prefetch=2,
        max_replicas=4,
        ready_per_replica=10,
        min_replicas=1,
        application=CELERY,
    ),
    CONTROL_RHYTHM,
)
"""An HPA keeps one worker; at zero, a task longer than the grace period would be interrupted again and again."""
TARGETS: Final = {
    "tasks": Target(">=", 1000),
    **{harm: Target("<=", 0) for harm in ("redelivered", "redelivered_after_start", "doubled", "lost")},
    "scale_ins": Target(">=", 10),
    "control_redelivered_after_start": Target(">=", 1),
    "control_removed_busy_pods": Target(">=", 1),
}


async def run(context: Context) -> Result:
    """Run both scenarios with the same tasks; the size sets their number."""
    bursts = -(-context.size // RHYTHM.burst)
    outcome = await run_scenarios(context.broker(), {"celery": MANAGED, "control_celery": CONTROL}, bursts)
    figures = {
        **_figures(outcome.accounts["celery"]),
        **{f"operator_removed_{state}_pods": count for state, count in outcome.removed.items()},
        **prefixed("control_", _figures(outcome.accounts["control_celery"])),
    }
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)


def _figures(account: Mapping[str, int]) -> dict[str, float]:
    """Add `redelivered`: every delivery but the first of each task, also of tasks that were not started."""
    redelivered = account["redelivered_after_start"] + account["requeued_before_start"]
    return {figure: {**account, "redelivered": redelivered}[figure] for figure in FIGURES}
