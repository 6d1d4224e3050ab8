"""What scaling and rollouts do to tasks, with workers that are asked to step aside first, and with such as are not."""

import asyncio
import random
from asyncio import to_thread
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from tests.bench.crew import Crew, Workers, crew
from tests.bench.guarded import Guarded
from tests.bench.operator import Operator, operator
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.trace import Rhythm, trace
from tests.bench.unguarded import DEAF, GRACEFUL, Unguarded
from tests.bench.waiting import eventually
from tests.cluster import images
from tests.cluster.progress import step

TASKS_PER_SIZE: Final = 10
PERIOD_SECONDS: Final = 30.0
"""Between bursts: a rush takes some 10 s, and for 12 s more the operator believes the highest of its readings."""
ROLLOUTS: Final = 5
AMID_SECONDS: Final = 8.0
"""From the start of a burst to a rollout: the workers are there, and work."""
PATIENCE_SECONDS: Final = 60
NO_HARM: Final = ("redelivered_after_start", "doubled", "lost", "busy_victims", "failed_deliveries")


class Part(NamedTuple):
    """Which workers are given which tasks. The names of controls begin with `control_`."""

    workers: Workers
    rhythm: Rhythm


PARTS: Final[Mapping[str, Part]] = {
    "prefetch_1": Part(Guarded(concurrency=1, prefetch=1, most=6, per_replica=5), Rhythm(50, PERIOD_SECONDS)),
    "prefetch_8": Part(Guarded(concurrency=4, prefetch=8, most=5, per_replica=15), Rhythm(150, PERIOD_SECONDS, 10)),
    "hoarding": Part(Guarded(concurrency=1, prefetch=8, most=4, per_replica=5), Rhythm(40, PERIOD_SECONDS, 20)),
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
    bursts = -(-setting.size * TASKS_PER_SIZE // sum(part.rhythm.burst for part in _guarded().values()))
    stage = setting.stage()
    image = await to_thread(images.build, "sample")
    await to_thread(stage.cluster.load, image)
    async with AsyncExitStack() as stack, operator(stage.cluster) as it:
        crews = {
            name: await stack.enter_async_context(crew(stage, image, name.replace("_", "-"), part.workers))
            for name, part in PARTS.items()
        }
        before = await _victims(it)
        step(f"{bursts} bursts for each of {len(crews)} crews, for {bursts * PERIOD_SECONDS / 60:.0f} minutes")
        await asyncio.gather(*(_work(each, PARTS[name].rhythm, bursts) for name, each in crews.items()))
        removed = {state: count - before.get(state, 0) for state, count in (await _victims(it)).items()}
        accounts = {name: each.account() for name, each in crews.items()}
    figures = {
        **_total(account for name, account in accounts.items() if name in _guarded()),
        **{f"operator_{state}_victims": count for state, count in removed.items()},
        **_prefixed("control_", _total(account for name, account in accounts.items() if name not in _guarded())),
        "bursts": bursts,
    }
    for name, account in accounts.items():
        figures |= _prefixed(f"{name}_", account)
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)


async def _work(those: Crew, rhythm: Rhythm, bursts: int) -> None:
    chance = random.Random(f"{rhythm}")
    # In the middle of each fifth of the time, or in each burst when there are fewer.
    when = sorted({bursts * (2 * number + 1) // (2 * ROLLOUTS) for number in range(ROLLOUTS)})
    rollouts = [rhythm.phase + burst * rhythm.period + AMID_SECONDS for burst in when]
    await those.work(trace(rhythm, bursts, chance), rollouts)


def _guarded() -> Mapping[str, Part]:
    return {name: part for name, part in PARTS.items() if isinstance(part.workers, Guarded)}


async def _victims(it: Operator) -> dict[str, float]:
    """Tell who went after scale-ins, by what the operator says they did."""
    found: dict[str, float] = {}

    async def told() -> bool:
        samples = await it.samples("taskqueue_scale_in_victims_total")
        found.update({sample.labels["state"]: sample.value for sample in samples})
        return bool(found)

    await eventually(told, "the operator tells who went", seconds=PATIENCE_SECONDS, every=1)
    return found


def _total(accounts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    every = list(accounts)
    return {figure: sum(account[figure] for account in every) for figure in every[0]}


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {prefix + figure: value for figure, value in figures.items()}
