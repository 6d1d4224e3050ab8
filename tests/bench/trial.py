"""Crews that are given their tasks at the same time, and what became of them."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final, NamedTuple

from tests.bench.crew import Crew, Workers, crew
from tests.bench.operator import Operator, operator
from tests.bench.stage import Stage
from tests.bench.trace import Rhythm, trace
from tests.bench.waiting import eventually
from tests.cluster.progress import step

AMID_SECONDS: Final = 8.0
"""From the start of a burst to a rollout: the workers are there, and work."""
PATIENCE_SECONDS: Final = 60


class Part(NamedTuple):
    """Which workers are given which tasks."""

    workers: Workers
    rhythm: Rhythm


class Outcome(NamedTuple):
    """What became of it all.

    Attributes:
        accounts: By the name of the part.
        removed: How many workers the operator has removed, by what it says they did.
    """

    accounts: Mapping[str, Mapping[str, int]]
    removed: Mapping[str, float]

    def total(self, parts: Iterable[str]) -> dict[str, float]:
        """Add up the accounts of some."""
        every = [self.accounts[part] for part in parts]
        return {figure: sum(account[figure] for account in every) for figure in every[0]}


async def hold(stage: Stage, parts: Mapping[str, Part], bursts: int, *, rollouts: int = 0) -> Outcome:
    """Give each crew that many bursts and rollouts; a crew of the same rhythm but for the phase gets the same tasks."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # of connections that end and are made anew
    async with AsyncExitStack() as stack, operator(stage.cluster) as it:
        crews = {
            name: await stack.enter_async_context(crew(stage, name.replace("_", "-"), part.workers))
            for name, part in parts.items()
        }
        before = await _victims(it)
        seconds = max(part.rhythm.period for part in parts.values()) * bursts
        step(f"{bursts} bursts for each of {len(crews)} crews, for {seconds / 60:.0f} minutes")
        async with asyncio.TaskGroup() as group:
            for name, each in crews.items():
                group.create_task(_work(each, parts[name].rhythm, bursts, rollouts))
        removed = {state: count - before.get(state, 0) for state, count in (await _victims(it)).items()}
        return Outcome({name: each.account() for name, each in crews.items()}, removed)


def prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Have figures told apart from others of the same name."""
    return {prefix + figure: value for figure, value in figures.items()}


async def _work(those: Crew, rhythm: Rhythm, bursts: int, rollouts: int) -> None:
    chance = random.Random(f"{replace(rhythm, phase=0)}")
    # In the middle of each share of the time, or in each burst when there are fewer.
    when = sorted({bursts * (2 * number + 1) // (2 * rollouts) for number in range(rollouts)})
    await those.work(
        trace(rhythm, bursts, chance), [rhythm.phase + burst * rhythm.period + AMID_SECONDS for burst in when]
    )


async def _victims(it: Operator) -> dict[str, float]:
    """Tell who went after scale-ins, by what the operator says they did."""
    found: dict[str, float] = {}

    async def told() -> bool:
        samples = await it.samples("taskqueue_scale_in_removed_pods_total")
        found.update({sample.labels["state"]: sample.value for sample in samples})
        return bool(found)

    await eventually(told, "the operator tells who went", seconds=PATIENCE_SECONDS, every=1)
    return found
