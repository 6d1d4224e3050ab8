"""What scaling and rollouts do to tasks, with workers that are asked to step aside first, and with such as are not."""

from collections.abc import Mapping
from typing import Final

from tests.bench.guarded import Guarded
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.trace import Rhythm
from tests.bench.trial import Part, hold, prefixed
from tests.bench.unguarded import DEAF, GRACEFUL, Unguarded

TASKS_PER_SIZE: Final = 10
PERIOD_SECONDS: Final = 30.0
"""Between bursts: a rush takes some 10 s, and for 12 s more the operator believes the highest of its readings."""
ROLLOUTS: Final = 5
NO_HARM: Final = ("redelivered_after_start", "doubled", "lost", "busy_victims", "failed_deliveries")

GUARDED: Final[Mapping[str, Part]] = {
    "prefetch_1": Part(Guarded(concurrency=1, prefetch=1, most=6, per_replica=5), Rhythm(40, PERIOD_SECONDS)),
    "prefetch_8": Part(Guarded(concurrency=4, prefetch=8, most=5, per_replica=15), Rhythm(125, PERIOD_SECONDS, 10)),
    "hoarding": Part(Guarded(concurrency=1, prefetch=8, most=4, per_replica=5), Rhythm(35, PERIOD_SECONDS, 20)),
}
CONTROLS: Final[Mapping[str, Part]] = {
    "control_grace": Part(
        Unguarded(GRACEFUL, concurrency=4, prefetch=8, most=3, per_replica=10), Rhythm(60, PERIOD_SECONDS, 5)
    ),
    "control_deaf": Part(
        Unguarded(DEAF, concurrency=4, prefetch=8, most=3, per_replica=10), Rhythm(60, PERIOD_SECONDS, 15)
    ),
}
TARGETS: Final = {
    "tasks": Target(">=", 10_000),
    "scale_ins": Target(">=", 200),
    "rollouts": Target(">=", ROLLOUTS),
    **{harm: Target("<=", 0) for harm in NO_HARM},
    "operator_busy_victims": Target("<=", 0),
    "control_redelivered_after_start": Target(">=", 1),
    "control_busy_victims": Target(">=", 1),
}


async def run(setting: Setting) -> Result:
    """Give all crews their tasks at the same time, as many as the size asks for to those the operator looks after."""
    bursts = -(-setting.size * TASKS_PER_SIZE // sum(part.rhythm.burst for part in GUARDED.values()))
    stage = setting.stage()
    outcome = await hold(stage, {**GUARDED, **CONTROLS}, bursts, rollouts=ROLLOUTS)
    figures = {
        **outcome.total(GUARDED),
        **{f"operator_{state}_victims": count for state, count in outcome.removed.items()},
        **prefixed("control_", outcome.total(CONTROLS)),
        "bursts": bursts,
    }
    for name, account in outcome.accounts.items():
        figures |= prefixed(f"{name}_", account)
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)
