"""Whatever breaks in the middle of a scale-in: nobody goes who might work, and in the end it is carried out."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from random import Random

import pytest

from taskqueue_operator.drain.protocol import State
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import GONE_AWAY
from tests.unit.control.fake_cluster import KEY

from .scale_in_scenario import assert_no_harm, run_scenario, until
from .simulated_workers import start_workers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))


async def test_the_story_has_workers_go_and_come_back(world: World) -> None:
    workers = await run_scenario(world)
    assert_no_harm(world, workers)
    assert workers.told["undrain"] > 0
    assert len(workers.removed) > 4


# What is said gets lost.

Fate = Callable[[str], Sequence[float]]
MENDED = 80.0
"""When messages arrive as they should again."""


def third(of: str, *, arrives: Sequence[float]) -> Fate:
    """Have something else happen to each third report, or command."""
    numbers = count(1)
    return lambda what: arrives if what == of and next(numbers) % 3 == 0 else (0.0,)


def chance(seed: int) -> Fate:
    """Have anything happen to any of them: lost, late, more than once."""
    random = Random(seed)

    def arrive(_: str) -> Sequence[float]:
        if asyncio.get_running_loop().time() > MENDED:
            return (0.0,)
        copies = random.choice((0, 1, 1, 1, 1, 2))
        return [random.choice((0.0, 0.0, 0.0, 1.0, 4.0, 20.0)) for _ in range(copies)]

    return arrive


FATES: Mapping[str, Callable[[], Fate]] = {
    "reports are lost": partial(third, "report", arrives=()),
    "commands are lost": partial(third, "command", arrives=()),
    "reports come twice": partial(third, "report", arrives=(0.0, 3.0)),
    "commands come twice": partial(third, "command", arrives=(0.0, 3.0)),
    "reports come late": partial(third, "report", arrives=(7.0,)),
    "commands come late": partial(third, "command", arrives=(7.0,)),
} | {f"anything happens, {seed}": partial(chance, seed) for seed in range(50 if DEEP else 5)}


@pytest.mark.parametrize("fate", FATES)
async def test_messages_that_do_not_arrive_as_they_should_harm_nobody(world: World, fate: str) -> None:
    workers = start_workers(world)
    workers.fate = FATES[fate]()
    assert_no_harm(world, await run_scenario(world, workers))


@pytest.mark.parametrize("at", [10.0, 30.0, 58.0])
async def test_in_a_memory_alarm_nobody_is_removed_and_after_it_all_goes_on(world: World, at: float) -> None:
    """The broker takes nothing from who publishes, and all of it when the alarm is over."""
    end, workers = at + 70, start_workers(world)

    def held_up(_: str) -> Sequence[float]:
        now = asyncio.get_running_loop().time()
        return (end - now if at <= now < end else 0.0,)

    async def watch() -> None:
        await until(at)
        before = len(workers.removed)
        await until(end - 1)
        assert len(workers.removed) == before
        assert {each.state for each in workers.of(KEY)} == {State.CONSUMING}, "leases end by themselves"

    workers.fate = held_up
    watching = asyncio.create_task(watch())
    assert_no_harm(world, await run_scenario(world, workers))
    await watching


async def test_a_broker_that_restarts_while_workers_drain_is_waited_for(world: World) -> None:
    """It delivers again what was not acknowledged: that nobody can help."""
    workers = start_workers(world)

    async def restart() -> None:
        await until(30)
        world.broker.fault = GONE_AWAY
        workers.deliver_again()
        await asyncio.sleep(40)
        assert world.replicas() == 2
        world.broker.fault = None

    restarting = asyncio.create_task(restart())
    assert_no_harm(world, await run_scenario(world, workers), times=(1, 2))
    await restarting


# Workers.


async def test_a_worker_that_is_killed_while_it_drains_works_on_and_is_asked_again(world: World) -> None:
    workers = start_workers(world)

    async def kill() -> None:
        await until(30)
        (draining,) = (each for each in workers.of(KEY) if each.state is State.DRAINING)
        workers.kill(draining)
        await asyncio.sleep(5)
        assert draining.state in {State.DRAINED, State.DRAINING}

    killing = asyncio.create_task(kill())
    assert_no_harm(world, await run_scenario(world, workers))
    await killing


@pytest.mark.parametrize("says", [{"version": 2}, {"drain": None}], ids=["unknown version", "field missing"])
async def test_a_worker_of_another_version_stays_and_is_named_and_the_others_go(
    world: World, says: dict[str, object]
) -> None:
    workers = start_workers(world)

    async def age() -> None:
        await until(4)
        workers.of(KEY)[0].says = says

    ageing = asyncio.create_task(age())
    assert_no_harm(world, await run_scenario(world, workers), stay=1)
    await ageing
    (old,) = workers.of(KEY)
    told = world.cluster.condition("ScalingActive")
    assert told["reason"] == "WorkersNotReporting"
    assert old.key.name in told["message"]
