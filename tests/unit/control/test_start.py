"""After a start nothing stays unread for long, and nothing is asked a thousand times."""

import asyncio
from dataclasses import replace

import pytest

from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology
from tests.approved import assert_approved

from .conftest import World
from .fake_cluster import taskqueue

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

MANY = [Key("media", f"queue-{n}") for n in range(160)]


async def made(world: World) -> None:
    """Have more TaskQueues than are reconciled at a time, and let all of them settle."""
    for key in MANY:
        world.cluster.put(taskqueue(key))
    await world.settle(30)


def delay(world: World, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the broker take its time to tell its topology, as it does with thousands of objects."""
    tell = world.broker.topology

    async def later() -> Topology:
        await asyncio.sleep(seconds)
        return await tell()

    monkeypatch.setattr(world.broker, "topology", later)


async def test_every_queue_is_read_before_topologies_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(world)
    delay(world, monkeypatch, seconds=30)
    world.broker.probes.clear()
    await world.restart()
    await world.settle(2)
    read: set[str] = set().union(*(queues for _, queues in world.broker.probes))
    assert read == {key.name for key in MANY}


async def test_a_few_looks_at_the_topology_and_the_secret_are_enough_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(world)
    delay(world, monkeypatch, seconds=0.5)
    world.cluster.writes.clear()
    world.cluster.secret_reads.clear()
    looks = world.broker.reads
    await world.restart()
    await world.settle(10)
    assert all(world.control.states[key].reconcile.topology_generation for key in MANY)
    assert world.broker.reads - looks <= 3
    assert len(world.cluster.secret_reads) <= 2
    assert world.cluster.writes == []


async def test_what_drifted_while_nobody_looked_is_mended_after_the_start(world: World) -> None:
    await made(world)
    gone = MANY[7].name
    there = world.broker.topology_
    world.broker.topology_ = replace(there, queues={n: queue for n, queue in there.queues.items() if n != gone})
    await world.restart()
    await world.settle(10)
    assert gone in world.broker.topology_.queues


async def test_one_that_cannot_be_connected_holds_up_nothing(world: World) -> None:
    await made(world)
    world.cluster.put(taskqueue(MANY[0], broker={"secretRef": {"name": "missing"}}))
    await world.restart()
    await world.settle(5)
    assert world.control.first_read.is_set()
    assert world.cluster.condition("BrokerReachable", MANY[0])["reason"] == "SecretNotFound"


async def test_invariant_5_what_was_decided_last_was_told_and_is_not_told_again(world: World) -> None:
    world.staff()
    await world.has(scaling={"maxReplicas": 20, "idleSeconds": 0})
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(5)
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(150)
    assert_approved("decision.at_zero_with_an_empty_queue", world.cluster.status()["decision"])
    world.cluster.writes.clear()
    await world.restart()
    await world.settle(60)
    assert world.cluster.writes == []
