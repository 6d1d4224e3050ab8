"""Whoever leads, and however it ends: no worker is removed that might work, and whoever follows ends what was begun."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import looptime
import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from tests.unit.control.conftest import World, new_world, stop
from tests.unit.control.fake_broker import FakeControl
from tests.unit.control.fake_cluster import API_AWAY, KEY, FakeCluster, taskqueue

from .scale_in_scenario import SCALING, TAKEOVER, assert_no_harm, run_scenario, until
from .simulated_workers import SimulatedWorkers, start_workers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))
LATE = 2.0


class Way(NamedTuple):
    """How an operator is killed at one of its steps.

    Attributes:
        done: Whether the step is taken: at once but unknown to it, some seconds later while another one leads, or not.
        takeover: Seconds until another one leads.
    """

    done: float | None
    takeover: float


WAYS = {
    "before it": Way(None, 0),
    "before the answer": Way(0, TAKEOVER),
    "while it is on its way": Way(LATE, 0),
}


class Fuse:
    """Ends the operator at one of its steps: a write to the cluster, or a command to a worker."""

    def __init__(self, at: int, way: Way) -> None:
        self.at = at
        self.way = way
        self.steps = 0
        self.step = ""
        self.blown = asyncio.Event()
        self._late: list[asyncio.Task[object]] = []

    async def take(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  whatever the step gives
        self.steps += 1
        if self.steps != self.at:
            return await act()
        self.step = name
        if self.way.done is not None:
            self._late.append(asyncio.ensure_future(self._act(act, self.way.done)))
            await asyncio.sleep(0.01)
        self.blown.set()
        return await asyncio.Event().wait()  # this life does not go on

    async def avenge(self, world: World) -> None:
        await self.blown.wait()
        await world.end()
        await asyncio.sleep(self.way.takeover)
        world.lead()

    async def _act(self, act: Callable[[], Awaitable[object]], after: float) -> None:
        await asyncio.sleep(after)
        with suppress(Conflict):
            await act()


def lay(fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrap(owner: type, name: str) -> None:
        original = getattr(owner, name)

        async def step(self: object, *given: object, **named: object) -> Any:  # noqa: ANN401
            return await fuse.take(f"{name} {given} {named}", partial(original, self, *given, **named))

        monkeypatch.setattr(owner, name, step)

    for name in ("set_drain_token", "annotate_pod", "scale"):
        wrap(FakeCluster, name)
    wrap(FakeControl, "send")


async def killed(at: int, way: Way) -> Fuse:
    """Play the story with an operator that is killed at that step."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fuse = Fuse(at, way)
        lay(fuse, monkeypatch)
        async with new_world() as world:
            avenging = asyncio.create_task(fuse.avenge(world))
            try:
                assert_no_harm(world, await run_scenario(world))
            except AssertionError as error:
                error.add_note(f"killed at step {at}: {fuse.step}")
                raise
            finally:
                avenging.cancel()
    return fuse


@pytest.mark.parametrize("way", WAYS)
def test_an_operator_that_is_killed_at_any_step_harms_nobody_and_the_next_one_ends_what_it_began(way: str) -> None:
    """By default each step is tried in one of the ways."""
    first, stride = (1, 1) if DEEP else (1 + list(WAYS).index(way), len(WAYS))
    for at in count(first, stride):
        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            fuse = runner.run(killed(at, WAYS[way]))
        if not fuse.step:
            assert at > 30, "the story has more steps than that"
            return


# Two leaders.

MOMENT = 15.0
"""Seconds for which one goes on that does not lead any more; in truth it is at most ten."""


@pytest.mark.parametrize("blind", [False, True], ids=["that sees what happens", "that has slept"])
@pytest.mark.parametrize("at", [16.0, 17.35, 22.0, 24.0, 40.0, 47.5, 48.2, 59.9, 63.5, 70.0])
async def test_two_leaders_for_a_moment_harm_nobody(world: World, at: float, *, blind: bool) -> None:
    async def supplant() -> None:
        await until(at)
        former = world.supplant(blind=blind)
        await asyncio.sleep(MOMENT)
        world.tasks.remove(former)
        await stop(former)

    rivalry = asyncio.create_task(supplant())
    assert_no_harm(world, await run_scenario(world))
    await rivalry


# A lowering that comes late.


async def four_with_nothing_to_do(world: World) -> SimulatedWorkers:
    workers = start_workers(world)
    world.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    workers.publish(4, seconds=5)
    await until(6)
    return workers


@pytest.mark.parametrize("killed", [True, False], ids=["of a former leader", "without an answer"])
async def test_a_lowering_that_comes_late_removes_nobody_who_was_asked_back(
    world: World, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """It meets another annotation, which was written before anybody was asked back."""
    workers, asked, lowering = await four_with_nothing_to_do(world), asyncio.Event(), FakeCluster.scale
    late: list[Callable[[], Awaitable[object]]] = []

    async def scale(self: FakeCluster, key: Key, *, replicas: int, generation: int, drain_token: str = "") -> Body:
        act = partial(lowering, self, key, replicas=replicas, generation=generation, drain_token=drain_token)
        if late or not drain_token:
            return await act()
        late.append(act)
        asked.set()
        await asyncio.sleep(10)
        raise API_AWAY

    monkeypatch.setattr(FakeCluster, "scale", scale)
    await asked.wait()
    assert {each.state for each in workers.of(KEY)} == {State.DRAINED}
    workers.publish(4, seconds=60)
    if killed:
        await world.restart()
    await asyncio.sleep(25)
    assert len(workers.running) == 4
    with pytest.raises(Conflict):
        await late[0]()
    await world.settle(10)
    assert workers.removed == []
    assert len(workers.running) == 4
