"""Faults in the middle of a scale-in: no busy worker is removed, and in the end the scale-in is complete."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from random import Random

import pytest

from taskqueue_operator.drain.protocol import State
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY

from .scale_in_scenario import assert_no_harm, run_scenario, until
from .simulated_workers import start_simulated_workers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))


async def test_the_scenario_drains_undrains_and_removes_workers(harness: ControlHarness) -> None:
    workers = await run_scenario(harness)
    assert_no_harm(harness, workers)
    assert workers.commands["undrain"] > 0
    assert len(workers.removed) > 4


# Lost messages.

Arrivals = Callable[[str], Sequence[float]]
REPAIRED = 80.0
"""Second from which all messages arrive again."""


def every_third(of: str, *, arrives: Sequence[float]) -> Arrivals:
    """Let every third report, or command, arrive differently."""
    numbers = count(1)
    return lambda what: arrives if what == of and next(numbers) % 3 == 0 else (0.0,)


def random_arrivals(seed: int) -> Arrivals:
    """Lose, delay or duplicate any report and command."""
    random = Random(seed)

    def arrive(_: str) -> Sequence[float]:
        if asyncio.get_running_loop().time() > REPAIRED:
            return (0.0,)
        copies = random.choice((0, 1, 1, 1, 1, 2))
        return [random.choice((0.0, 0.0, 0.0, 1.0, 4.0, 20.0)) for _ in range(copies)]

    return arrive


NETWORK_FAULTS: Mapping[str, Callable[[], Arrivals]] = {
    "reports are lost": partial(every_third, "report", arrives=()),
    "commands are lost": partial(every_third, "command", arrives=()),
    "reports come twice": partial(every_third, "report", arrives=(0.0, 3.0)),
    "commands come twice": partial(every_third, "command", arrives=(0.0, 3.0)),
    "reports come late": partial(every_third, "report", arrives=(7.0,)),
    "commands come late": partial(every_third, "command", arrives=(7.0,)),
} | {f"random faults, {seed}": partial(random_arrivals, seed) for seed in range(50 if DEEP else 5)}


@pytest.mark.parametrize("fault", NETWORK_FAULTS)
async def test_lost_late_or_duplicate_messages_do_no_harm(harness: ControlHarness, fault: str) -> None:
    workers = start_simulated_workers(harness)
    workers.arrivals = NETWORK_FAULTS[fault]()
    assert_no_harm(harness, await run_scenario(harness, workers))


@pytest.mark.parametrize("at", [10.0, 30.0, 58.0])
async def test_no_worker_is_removed_during_a_memory_alarm_and_the_scale_in_continues_after_it(
    harness: ControlHarness, at: float
) -> None:
    """The broker blocks publishers, and accepts all messages once the alarm is over."""
    end, workers = at + 70, start_simulated_workers(harness)

    def blocked(_: str) -> Sequence[float]:
        now = asyncio.get_running_loop().time()
        return (end - now if at <= now < end else 0.0,)

    async def watch() -> None:
        await until(at)
        before = len(workers.removed)
        await until(end - 1)
        assert len(workers.removed) == before
        assert {worker.state for worker in workers.of(KEY)} == {State.CONSUMING}, "leases end by themselves"

    workers.arrivals = blocked
    watching = asyncio.create_task(watch())
    assert_no_harm(harness, await run_scenario(harness, workers))
    await watching


async def test_a_scale_in_waits_for_a_broker_that_restarts_while_workers_drain(harness: ControlHarness) -> None:
    """The broker redelivers unacknowledged messages, which no operator can prevent."""
    workers = start_simulated_workers(harness)

    async def restart() -> None:
        await until(30)
        harness.broker.fault = UNREACHABLE
        workers.deliver_again()
        await asyncio.sleep(40)
        assert harness.replicas() == 2
        harness.broker.fault = None

    restarting = asyncio.create_task(restart())
    assert_no_harm(harness, await run_scenario(harness, workers), times=(1, 2))
    await restarting


# Workers.


async def test_a_worker_that_restarts_while_it_drains_is_drained_again(harness: ControlHarness) -> None:
    workers = start_simulated_workers(harness)

    async def kill() -> None:
        await until(30)
        (draining,) = (worker for worker in workers.of(KEY) if worker.state is State.DRAINING)
        workers.kill(draining)
        await asyncio.sleep(5)
        assert draining.state in {State.DRAINED, State.DRAINING}

    killing = asyncio.create_task(kill())
    assert_no_harm(harness, await run_scenario(harness, workers))
    await killing


@pytest.mark.parametrize("overrides", [{"version": 2}, {"drain": None}], ids=["unknown version", "field missing"])
async def test_a_worker_of_another_protocol_version_stays_and_is_reported_and_others_are_removed(
    harness: ControlHarness, overrides: dict[str, object]
) -> None:
    workers = start_simulated_workers(harness)

    async def degrade() -> None:
        await until(4)
        workers.of(KEY)[0].report_overrides = overrides

    degrading = asyncio.create_task(degrade())
    assert_no_harm(harness, await run_scenario(harness, workers), stay=1)
    await degrading
    (old,) = workers.of(KEY)
    condition = harness.cluster.condition("ScalingActive")
    assert condition["reason"] == "WorkersNotReporting"
    assert old.key.name in condition["message"]
