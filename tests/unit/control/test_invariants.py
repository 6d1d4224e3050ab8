"""The invariants of the design, each by its name, on the whole loop."""

import asyncio

import pytest

from .conftest import World
from .fake_broker import DATA, GONE_AWAY, PASSWORD, REFUSED
from .fake_cluster import SECRET, taskqueue

pytestmark = pytest.mark.looptime


async def test_invariant_2_a_broker_that_is_away_lowers_nothing(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.broker.fault = GONE_AWAY
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(600)
    assert world.replicas() == 5
    assert world.cluster.condition("BrokerReachable")["reason"] == "BrokerUnreachable"
    assert world.cluster.condition("ScalingActive")["status"] == "False"


async def test_invariant_5_when_nothing_happens_nothing_is_written(world: World) -> None:
    await world.has()
    await world.settle(60)
    world.cluster.writes.clear()
    world.broker.taken.clear()
    await world.settle(300)
    assert world.cluster.writes == []
    assert world.broker.taken == []


async def test_invariant_5_a_restart_with_nothing_to_do_writes_nothing(world: World) -> None:
    await world.has(deletionPolicy="Delete")
    await world.settle(60)
    world.cluster.writes.clear()
    await world.restart()
    await world.settle(120)
    assert world.cluster.writes == []


@pytest.mark.parametrize("steps", range(1, 40, 5))
async def test_invariant_7_killed_anywhere_it_converges(world: World, steps: int) -> None:
    world.cluster.put(taskqueue(deletionPolicy="Delete"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await world.restart()
    await world.settle()
    assert set(world.broker.topology_.queues) == {"thumbnails", "thumbnails.dlq"}
    assert world.cluster.condition("Ready")["status"] == "True"
    assert len(world.cluster.written("deployment")) == 1


async def test_invariant_10_no_secret_is_written_anywhere(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.has()
    world.broker.fault = REFUSED
    await world.settle(30)
    world.broker.fault = None
    world.cluster.secrets[SECRET] = {"url": DATA["uri"]}
    await world.settle(120)
    world.cluster.secrets.pop(SECRET)
    await world.settle(120)
    assert world.cluster.condition("Ready")["reason"] == "SecretNotFound"
    printed = capsys.readouterr()
    everything = [str(world.cluster.writes), caplog.text, printed.out, printed.err, str(world.telemetry.told)]
    everything += [repr(task) for task in asyncio.all_tasks()]
    assert "RabbitMQ at broker:5672 refuses the user." in everything[0]
    assert PASSWORD not in "".join(everything)
