"""Whenever the leader changes, no busy worker is removed, and the next leader completes what was begun."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
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
from tests.unit.control.control_harness import ControlHarness, cancel, running_harness
from tests.unit.control.fake_broker import FakeControlChannel
from tests.unit.control.fake_cluster import API_UNREACHABLE, KEY, FakeCluster, taskqueue

from .scale_in_scenario import SCALING, TAKEOVER, assert_no_harm, run_scenario, until
from .simulated_workers import SimulatedWorkers, start_simulated_workers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))
DELAY_SECONDS = 2.0


class KillMoment(NamedTuple):
    """How an operator is killed at one of its steps.

    Attributes:
        applied_after: Seconds until the step is applied; its answer is lost. None: it is not applied.
        takeover: Seconds until another operator leads.
    """

    applied_after: float | None
    takeover: float


KILL_MOMENTS = {
    "before the step": KillMoment(None, 0),
    "before the answer": KillMoment(0, TAKEOVER),
    "while it is on its moment": KillMoment(DELAY_SECONDS, 0),
}


class KillSwitch:
    """Kills the operator at one of its steps: a write to the cluster, or a command to a worker."""

    def __init__(self, at: int, moment: KillMoment) -> None:
        self.at = at
        self.moment = moment
        self.steps = 0
        self.step = ""
        self.triggered = asyncio.Event()
        self._delayed: list[asyncio.Task[object]] = []

    async def run_step(self, name: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  the result of the step
        self.steps += 1
        if self.steps != self.at:
            return await act()
        self.step = name
        if self.moment.applied_after is not None:
            self._delayed.append(asyncio.ensure_future(self._act(act, self.moment.applied_after)))
            await asyncio.sleep(0.01)
        self.triggered.set()
        return await asyncio.Event().wait()  # this operator does not continue

    async def replace_operator(self, harness: ControlHarness) -> None:
        await self.triggered.wait()
        await harness.stop_controller()
        await asyncio.sleep(self.moment.takeover)
        harness.start_controller()

    async def _act(self, act: Callable[[], Awaitable[object]], after: float) -> None:
        await asyncio.sleep(after)
        with suppress(Conflict):
            await act()


def install(switch: KillSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrap(owner: type, name: str) -> None:
        original = getattr(owner, name)

        async def step(self: object, *given: object, **named: object) -> Any:  # noqa: ANN401
            return await switch.run_step(f"{name} {given} {named}", partial(original, self, *given, **named))

        monkeypatch.setattr(owner, name, step)

    send = FakeControlChannel.send

    async def send_each(self: FakeControlChannel, commands: Sequence[tuple[str, bytes]]) -> None:
        for command in commands:
            await switch.run_step(f"send {command}", partial(send, self, [command]))

    for name in ("set_drain_token", "annotate_pod", "scale"):
        wrap(FakeCluster, name)
    monkeypatch.setattr(FakeControlChannel, "send", send_each)


async def run_killed(at: int, moment: KillMoment) -> KillSwitch:
    """Run the scenario with an operator that is killed at this step."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        switch = KillSwitch(at, moment)
        install(switch, monkeypatch)
        async with running_harness() as harness:
            replacing = asyncio.create_task(switch.replace_operator(harness))
            try:
                assert_no_harm(harness, await run_scenario(harness))
            except AssertionError as error:
                error.add_note(f"killed at step {at}: {switch.step}")
                raise
            finally:
                replacing.cancel()
    return switch


@pytest.mark.parametrize("moment", KILL_MOMENTS)
def test_an_operator_that_is_killed_at_any_step_does_no_harm_and_the_next_one_completes_the_scale_in(
    moment: str,
) -> None:
    """By default each step is tested at one of the moments."""
    first, stride = (1, 1) if DEEP else (1 + list(KILL_MOMENTS).index(moment), len(KILL_MOMENTS))
    for at in count(first, stride):
        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            switch = runner.run(run_killed(at, KILL_MOMENTS[moment]))
        if not switch.step:
            assert at > 30, "the scenario has more steps"
            return


# Two leaders.

OVERLAP_SECONDS = 15.0
"""Seconds for which a former leader continues; in truth at most ten."""


@pytest.mark.parametrize("watch_lost", [False, True], ids=["with its watch", "without its watch"])
@pytest.mark.parametrize("at", [16.0, 17.35, 22.0, 24.0, 40.0, 47.5, 48.2, 59.9, 63.5, 70.0])
async def test_two_leaders_for_a_moment_do_no_harm(harness: ControlHarness, at: float, *, watch_lost: bool) -> None:
    async def compete() -> None:
        await until(at)
        former = harness.start_competing_controller(watch_lost=watch_lost)
        await asyncio.sleep(OVERLAP_SECONDS)
        harness.tasks.remove(former)
        await cancel(former)

    competing = asyncio.create_task(compete())
    assert_no_harm(harness, await run_scenario(harness))
    await competing


# A delayed scale-in.


async def start_four_idle_workers(harness: ControlHarness) -> SimulatedWorkers:
    workers = start_simulated_workers(harness)
    harness.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    workers.publish(4, seconds=5)
    await until(6)
    return workers


@pytest.mark.parametrize("killed", [True, False], ids=["of a former leader", "without an answer"])
async def test_a_delayed_scale_in_removes_no_undrained_worker(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """The drain annotation has changed before any undrain, so the API server refuses the write."""
    workers, requested, scale_in = await start_four_idle_workers(harness), asyncio.Event(), FakeCluster.scale
    delayed: list[Callable[[], Awaitable[object]]] = []

    async def scale(
        self: FakeCluster,
        key: Key,
        *,
        replicas: int,
        generation: int,
        drain_token: str = "",
        **others: str,
    ) -> Body:
        act = partial(scale_in, self, key, replicas=replicas, generation=generation, drain_token=drain_token, **others)
        if delayed or not drain_token:
            return await act()
        delayed.append(act)
        requested.set()
        await asyncio.sleep(10)
        raise API_UNREACHABLE

    monkeypatch.setattr(FakeCluster, "scale", scale)
    await requested.wait()
    assert {worker.state for worker in workers.of(KEY)} == {State.DRAINED}
    workers.publish(4, seconds=60)
    if killed:
        await harness.restart()
    await asyncio.sleep(25)
    assert len(workers.running) == 4
    with pytest.raises(Conflict):
        await delayed[0]()
    await harness.settle(10)
    assert workers.removed == []
    assert len(workers.running) == 4
