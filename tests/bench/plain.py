"""What scaling does to the tasks of Celery's prefork workers, as they are: with the operator, and with an HPA's way."""

from collections.abc import Mapping
from typing import Final

from tests.bench.guarded import Guarded
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.trace import Rhythm
from tests.bench.trial import Part, hold, prefixed
from tests.bench.unguarded import Unguarded
from tests.e2e.application import celery
from tests.e2e.tenant import NAME

RHYTHM: Final = Rhythm(50, 45.0)
"""Between bursts there is time for two looks at the workers, 7 s apart, after the 12 s of doubt about the queue."""
LATER: Final = Rhythm(RHYTHM.burst, RHYTHM.period, phase=20)
CELERY: Final = celery(NAME, declared=True)
FIGURES: Final = (
    "tasks",
    "redelivered",
    "redelivered_after_start",
    "failed_deliveries",
    "doubled",
    "lost",
    "scale_ins",
    "victims",
    "busy_victims",
)

GUARDED: Final = Part(
    Guarded(concurrency=2, prefetch=2, most=4, per_replica=10, application=CELERY, exchange=NAME), RHYTHM
)
CONTROL: Final = Part(
    Unguarded(CELERY.command, concurrency=2, prefetch=2, most=4, per_replica=10, least=1, application=CELERY), LATER
)
"""An HPA keeps one worker; at zero, a task longer than its grace would be begun and cut for ever."""
TARGETS: Final = {
    "tasks": Target(">=", 1000),
    **{harm: Target("<=", 0) for harm in ("redelivered", "redelivered_after_start", "doubled", "lost")},
    "scale_ins": Target(">=", 10),
    "control_redelivered_after_start": Target(">=", 1),
    "control_busy_victims": Target(">=", 1),
}


async def run(setting: Setting) -> Result:
    """Give the same tasks, as many as the size asks for, to both."""
    bursts = -(-setting.size // RHYTHM.burst)
    outcome = await hold(setting.stage(), {"celery": GUARDED, "control_celery": CONTROL}, bursts)
    figures = {
        **_figures(outcome.accounts["celery"]),
        **{f"operator_{state}_victims": count for state, count in outcome.removed.items()},
        **prefixed("control_", _figures(outcome.accounts["control_celery"])),
    }
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)


def _figures(account: Mapping[str, int]) -> dict[str, float]:
    """Count also what came back without having been begun: every delivery but the first of each task."""
    redelivered = account["redelivered_after_start"] + account["hoard_returns"]
    return {figure: {**account, "redelivered": redelivered}[figure] for figure in FIGURES}
