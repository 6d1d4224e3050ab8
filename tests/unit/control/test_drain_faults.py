"""Whatever breaks in the middle of a scale-in: no worker is removed that might work, and in the end it is carried out.

One story goes on while things break: four workers, of which two soon have nothing to do; then the maximum is lowered
below those who work; then there is more to do than before; then nothing.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple

import looptime
import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.protocol import State

from .conftest import World, new_world, stop
from .fake_broker import GONE_AWAY, FakeControl
from .fake_cluster import API_AWAY, KEY, FakeCluster, taskqueue
from .shift import Shift, begin_shift, mark

pytestmark = pytest.mark.looptime

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))
SCALING = {
    "maxReplicas": 4,
    "readyPerReplica": 1,
    "idleSeconds": 0,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
CALM = 130
"""Seconds after which all is over, once nothing breaks any more: longer than a lease and a silence."""
TAKEOVER = 20.0
"""Seconds until another one leads, at the most."""
LOWERED, RAISED = 23.0, 48.0
"""When the maximum is lowered below those who work, and when it is raised again."""


async def story(world: World, shift: Shift | None = None) -> Shift:
    """Let it happen, and wait for its end; faults come from elsewhere."""
    shift = shift or begin_shift(world)
    world.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    shift.publish(2, seconds=60)
    shift.publish(2, seconds=5)
    await until(LOWERED)
    world.cluster.put(taskqueue(scaling=SCALING | {"maxReplicas": 1}))
    await until(RAISED)
    shift.publish(4, seconds=10)
    world.cluster.put(taskqueue(scaling=SCALING))
    for _ in range(CALM):
        await asyncio.sleep(1)
        if not (shift.waiting or shift.running or shift.of(KEY) or mark(world)):
            break
    await world.settle(TAKEOVER + 5)
    return shift


async def until(second: float) -> None:
    """Wait until so many seconds have passed since the beginning."""
    await asyncio.sleep(second - asyncio.get_running_loop().time())


def unharmed(world: World, shift: Shift, *, times: Collection[int] = (1,), stay: int = 0) -> None:
    """Nobody went who had not stepped aside, all tasks are done so often, and nobody is there who should not."""
    assert {each.state for each in shift.removed} == {State.DRAINED}
    assert len(shift.done) == 8
    assert set(shift.done.values()) <= set(times)
    assert len(shift.of(KEY)) == world.replicas() == stay
    assert {each.state for each in shift.of(KEY)} <= {State.CONSUMING}
    assert mark(world) is None


async def test_the_story_has_workers_go_and_come_back(world: World) -> None:
    shift = await story(world)
    unharmed(world, shift)
    assert shift.told["undrain"] > 0
    assert len(shift.removed) > 4


# Killed at each step.

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

    for name in ("mark", "annotate_pod", "scale"):
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
                unharmed(world, await story(world))
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
    unharmed(world, await story(world))
    await rivalry


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
    shift = begin_shift(world)
    shift.fate = FATES[fate]()
    unharmed(world, await story(world, shift))


@pytest.mark.parametrize("at", [10.0, 30.0, 58.0])
async def test_in_a_memory_alarm_nobody_is_removed_and_after_it_all_goes_on(world: World, at: float) -> None:
    """The broker takes nothing from who publishes, and all of it when the alarm is over."""
    end, shift = at + 70, begin_shift(world)

    def held_up(_: str) -> Sequence[float]:
        now = asyncio.get_running_loop().time()
        return (end - now if at <= now < end else 0.0,)

    async def watch() -> None:
        await until(at)
        before = len(shift.removed)
        await until(end - 1)
        assert len(shift.removed) == before
        assert {each.state for each in shift.of(KEY)} == {State.CONSUMING}, "leases end by themselves"

    shift.fate = held_up
    watching = asyncio.create_task(watch())
    unharmed(world, await story(world, shift))
    await watching


async def test_a_broker_that_restarts_while_workers_drain_is_waited_for(world: World) -> None:
    """It delivers again what was not acknowledged: that nobody can help."""
    shift = begin_shift(world)

    async def restart() -> None:
        await until(30)
        world.broker.fault = GONE_AWAY
        shift.deliver_again()
        await asyncio.sleep(40)
        assert world.replicas() == 2
        world.broker.fault = None

    restarting = asyncio.create_task(restart())
    unharmed(world, await story(world, shift), times=(1, 2))
    await restarting


# Workers.


async def test_a_worker_that_is_killed_while_it_drains_works_on_and_is_asked_again(world: World) -> None:
    shift = begin_shift(world)

    async def kill() -> None:
        await until(30)
        (draining,) = (each for each in shift.of(KEY) if each.state is State.DRAINING)
        shift.kill(draining)
        await asyncio.sleep(5)
        assert draining.state in {State.DRAINED, State.DRAINING}

    killing = asyncio.create_task(kill())
    unharmed(world, await story(world, shift))
    await killing


@pytest.mark.parametrize("says", [{"version": 2}, {"drain": None}], ids=["unknown version", "field missing"])
async def test_a_worker_of_another_version_stays_and_is_named_and_the_others_go(
    world: World, says: dict[str, object]
) -> None:
    shift = begin_shift(world)

    async def age() -> None:
        await until(4)
        shift.of(KEY)[0].says = says

    ageing = asyncio.create_task(age())
    unharmed(world, await story(world, shift), stay=1)
    await ageing
    (old,) = shift.of(KEY)
    told = world.cluster.condition("ScalingActive")
    assert told["reason"] == "WorkersSilent"
    assert old.key.name in told["message"]


# A lowering that comes late.


async def four_with_nothing_to_do(world: World) -> Shift:
    shift = begin_shift(world)
    world.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    shift.publish(4, seconds=5)
    await until(6)
    return shift


@pytest.mark.parametrize("killed", [True, False], ids=["of a former leader", "without an answer"])
async def test_a_lowering_that_comes_late_removes_nobody_who_was_asked_back(
    world: World, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """It meets another annotation, which was written before anybody was asked back."""
    shift, asked, lowering = await four_with_nothing_to_do(world), asyncio.Event(), FakeCluster.scale
    late: list[Callable[[], Awaitable[object]]] = []

    async def scale(self: FakeCluster, key: Key, *, replicas: int, generation: int, mark: str = "") -> Body:
        act = partial(lowering, self, key, replicas=replicas, generation=generation, mark=mark)
        if late or not mark:
            return await act()
        late.append(act)
        asked.set()
        await asyncio.sleep(10)
        raise API_AWAY

    monkeypatch.setattr(FakeCluster, "scale", scale)
    await asked.wait()
    assert {each.state for each in shift.of(KEY)} == {State.DRAINED}
    shift.publish(4, seconds=60)
    if killed:
        await world.restart()
    await asyncio.sleep(25)
    assert len(shift.running) == 4
    with pytest.raises(Conflict):
        await late[0]()
    await world.settle(10)
    assert shift.removed == []
    assert len(shift.running) == 4
