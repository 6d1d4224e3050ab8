"""What is written into the status, and when."""

import asyncio

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import FORBIDDEN, GONE_AWAY
from tests.unit.control.fake_cluster import KEY, taskqueue

pytestmark = pytest.mark.looptime


async def busy(world: World) -> None:
    await world.has(scaling={"maxReplicas": 2, "minReplicas": 2})
    await world.settle(60)
    world.cluster.writes.clear()


async def test_figures_alone_are_written_every_thirty_seconds(world: World) -> None:
    await busy(world)
    for n in range(120):
        world.broker.depths["thumbnails"] = (100 + n, 0)
        await world.settle(1)
    assert 4 <= len(world.cluster.written("status")) <= 6
    backlog = world.cluster.status()["backlog"]["ready"]
    assert 180 <= backlog <= 219


async def test_the_last_figures_are_written_in_the_end(world: World) -> None:
    await busy(world)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(2)
    world.broker.depths["thumbnails"] = (77, 0)
    await world.settle(60)
    assert world.cluster.status()["backlog"]["ready"] == 77


async def test_what_is_not_known_any_more_stays_as_it_was_said(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(60)
    before = world.cluster.status()["backlog"]
    world.broker.fault = GONE_AWAY
    await world.settle(300)
    assert world.cluster.status()["backlog"] == before


async def test_a_queue_that_may_not_be_read_is_said_of_its_own_taskqueue_alone(world: World) -> None:
    await world.has()
    other = Key("media", "more")
    world.cluster.put(taskqueue(other))
    await world.settle(60)
    world.broker.refused["more"] = FORBIDDEN
    await world.settle(60)
    for condition in ("BrokerReachable", "Ready", "Stalled"):
        said = world.cluster.condition(condition, other)
        assert (said["reason"], said["message"]) == (FORBIDDEN.reason, FORBIDDEN.message)
    assert world.cluster.condition("ScalingActive", other)["status"] == "False"
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert world.cluster.condition(condition)["status"] == "True"
    world.broker.refused.clear()
    await world.settle(60)
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert world.cluster.condition(condition, other)["status"] == "True"


async def test_numbers_are_written_at_once(world: World) -> None:
    await world.has()
    await world.settle(60)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(1.5)
    assert world.cluster.status()["desiredReplicas"] == 5
    assert world.cluster.status()["decision"] == "ready 100 / 20 per replica = 5"
    assert world.cluster.status()["lastScaleTime"]
    assert ("Scaled", "From 0 to 5 workers: ready 100 / 20 per replica = 5") in world.cluster.events


async def test_limits_are_a_condition(world: World) -> None:
    await world.has(scaling={"maxReplicas": 3})
    await world.settle(30)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(5)
    limited = world.cluster.condition("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "TooManyReplicas")
    assert limited["message"] == "limited to 3 by maxReplicas"


async def test_a_pause_is_a_condition(world: World) -> None:
    await world.has(scaling={"maxReplicas": 3, "mode": "Paused"})
    await world.settle(30)
    assert world.cluster.condition("ScalingActive")["reason"] == "Paused"


async def test_readiness_names_the_generation_it_is_about(world: World) -> None:
    await world.has()
    await world.has(worker={"image": "acme/app:2"})
    assert world.cluster.status()["observedGeneration"] == 2
    assert world.cluster.condition("Ready")["observedGeneration"] == 2  # type: ignore[comparison-overlap]  # an int


async def test_a_conflict_makes_the_scaler_look_again(world: World) -> None:
    await world.has()
    world.cluster.silent = True
    there = world.cluster.deployments[KEY]
    await world.cluster.scale(KEY, replicas=0, generation=there["metadata"]["generation"])
    world.cluster.silent = False
    world.cluster.writes.clear()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(3)
    assert world.cluster.written("replicas") == [5]


async def test_a_number_that_is_always_refused_is_not_written_hot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has()
    attempts: list[int] = []

    async def refuse(_: Key, *, replicas: int, generation: int) -> Body:  # noqa: ARG001  the port's shape
        attempts.append(replicas)
        await asyncio.sleep(0.01)
        raise Conflict("refused")

    monkeypatch.setattr(world.cluster, "scale", refuse)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    assert 2 <= len(attempts) <= 120  # at most once per reading and once per backoff


async def test_no_write_when_the_number_is_the_one_that_is_there(world: World) -> None:
    await busy(world)
    world.broker.depths["thumbnails"] = (40, 0)
    await world.settle(60)
    assert world.cluster.written("replicas") == []
