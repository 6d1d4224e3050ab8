"""How a TaskQueue ends: by its policy, visibly while it waits, and always."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from taskqueue_operator.resource.names import FINALIZER, Key
from taskqueue_operator.topology.diff import Remove, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Queue
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import GONE_AWAY
from tests.unit.control.fake_cluster import KEY, SECRET, taskqueue

pytestmark = pytest.mark.looptime


def gone(world: World) -> bool:
    return KEY not in world.cluster.taskqueues


def retained(world: World) -> list[str]:
    return [str(told[2]) for told in world.telemetry.told if told[0] == "retained"]


def finalizers(world: World) -> list[str]:
    found: list[str] = world.cluster.taskqueues[KEY]["metadata"].get("finalizers", [])
    return found


async def test_retain_needs_no_finalizer_and_keeps_all(world: World) -> None:
    await world.has()
    there = world.broker.topology_
    assert finalizers(world) == []
    world.cluster.delete(KEY)
    await world.settle()
    assert gone(world)
    assert world.broker.topology_ == there
    assert retained(world) == []


async def test_the_finalizer_stands_before_anything_is_made(world: World) -> None:
    await world.has(deletionPolicy="Delete")
    assert world.cluster.writes[0] == ("finalizers", [FINALIZER])


async def test_a_policy_that_becomes_retain_takes_the_finalizer_off(world: World) -> None:
    await world.has(deletionPolicy="Delete")
    await world.has()
    assert finalizers(world) == []


async def test_delete_waits_for_the_workers_then_takes_queues_and_messages(world: World) -> None:
    await world.has(deletionPolicy="Delete")
    world.broker.depths["thumbnails"] = (100, 5)
    await world.settle()
    world.cluster.run_pods(KEY)
    world.cluster.delete(KEY)
    await world.settle()
    assert world.replicas() == 0
    assert set(world.broker.topology_.queues) == {"thumbnails", "thumbnails.dlq"}
    assert world.cluster.condition("Ready")["reason"] == "Deleting"
    assert "workers to finish" in world.cluster.condition("Ready")["message"]
    await world.settle(600)
    assert not gone(world)
    world.cluster.run_pods(KEY)
    await world.settle(6)
    assert gone(world)
    assert (world.broker.topology_.queues, world.broker.topology_.exchanges) == ({}, {})


async def test_delete_waits_for_the_workers_after_a_restart_too(world: World) -> None:
    """The watches show TaskQueues and Deployments side by side: which comes first is chance."""
    await world.has(deletionPolicy="Delete")
    world.broker.depths["thumbnails"] = (100, 5)
    await world.settle()
    world.cluster.run_pods(KEY)
    world.cluster.delete(KEY)
    world.cluster.silent = True
    await world.restart()
    world.control.cache.deployments.clear()
    await world.settle()
    assert set(world.broker.topology_.queues) == {"thumbnails", "thumbnails.dlq"}
    assert not gone(world)


async def test_delete_if_empty_takes_what_is_empty(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    world.cluster.delete(KEY)
    await world.settle(5)
    assert "until it is certain" in world.cluster.condition("Ready")["message"]
    await world.settle(30)
    assert gone(world)
    assert world.broker.topology_.queues == {}


async def test_invariant_4_delete_if_empty_waits_behind_a_fence_for_the_last_message(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.cluster.delete(KEY)
    await world.settle(60)
    assert 'queue "thumbnails" holds 100 messages' in world.cluster.condition("Ready")["message"]
    assert not any(each.to_queue and each.destination == "thumbnails" for each in world.broker.topology_.bindings)
    assert "thumbnails.fence" in world.broker.topology_.queues
    assert world.replicas() == 5
    world.broker.depths["thumbnails"] = (0, 1)
    await world.settle(60)
    assert not gone(world)
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(30)
    assert gone(world)
    assert (world.broker.topology_.queues, world.broker.topology_.exchanges) == ({}, {})
    assert world.broker.topology_.policies == {}


async def test_invariant_4_the_wall_stands_before_the_queue_is_unbound(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    world.broker.taken.clear()
    world.cluster.delete(KEY)
    await world.settle(60)
    first = next(n for n, step in enumerate(world.broker.taken) if isinstance(step, Remove))
    assert isinstance(world.broker.taken[first].item, Binding)
    assert {"thumbnails.fence"} == {
        step.item.name for step in world.broker.taken[:first] if isinstance(step.item, Exchange | Queue)
    }


async def test_invariant_4_dead_letters_are_messages_too(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    world.broker.depths["thumbnails.dlq"] = (3, 0)
    world.cluster.delete(KEY)
    await world.settle(60)
    assert not gone(world)
    assert 'queue "thumbnails.dlq" holds 3 messages' in world.cluster.condition("Ready")["message"]


async def test_a_deletion_that_waits_ends_when_the_policy_becomes_retain(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    there = world.broker.topology_
    world.broker.depths["thumbnails"] = (100, 0)
    world.cluster.delete(KEY)
    await world.settle(30)
    world.cluster.put(taskqueue())
    await world.settle(10)
    assert gone(world)
    assert world.broker.topology_ == there


async def test_invariant_8_with_messages_and_without_workers_all_is_retained(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    there = world.broker.topology_
    world.broker.depths["thumbnails"] = (100, 0)
    world.cluster.delete(KEY)
    await world.settle(20)
    world.cluster.remove("deployments", KEY)
    await world.settle(20)
    assert gone(world)
    assert world.broker.topology_ == there
    assert retained(world) == ["queue thumbnails holds messages and its workers are gone"]


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_8_without_the_secret_all_is_retained(world: World, policy: str) -> None:
    await world.has(deletionPolicy=policy)
    there = world.broker.topology_
    world.cluster.secrets.pop(SECRET)
    await world.settle(61)
    world.cluster.delete(KEY)
    await world.settle(10)
    assert gone(world)
    assert world.broker.topology_ == there
    assert "Secret media/rabbitmq not found" in retained(world)[0]


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_8_a_broker_that_stays_away_is_waited_for_a_minute(world: World, policy: str) -> None:
    await world.has(deletionPolicy=policy)
    world.broker.fault = GONE_AWAY
    world.cluster.delete(KEY)
    await world.settle(50)
    assert not gone(world)
    assert world.cluster.condition("BrokerReachable")["reason"] == "BrokerUnreachable"
    await world.settle(30)
    assert gone(world)
    assert retained(world) == [GONE_AWAY.message]


async def test_invariant_8_a_queue_that_can_no_longer_be_probed_is_waited_for_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: object) -> dict[str, object]:
        raise GONE_AWAY

    await world.has(deletionPolicy="DeleteIfEmpty")
    monkeypatch.setattr(world.broker, "probe", silent)
    world.cluster.delete(KEY)
    await world.settle(50)
    assert not gone(world)
    await world.settle(40)
    assert gone(world)
    assert "thumbnails" in world.broker.topology_.queues


async def test_invariant_8_a_name_that_somebody_else_has_taken_for_the_wall_is_no_hindrance(world: World) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    foreign = Queue("thumbnails.fence", arguments={"x-queue-type": "quorum"})
    world.broker.topology_ = replace(
        world.broker.topology_, queues={**world.broker.topology_.queues, foreign.name: foreign}
    )
    world.cluster.delete(KEY)
    await world.settle(10)
    assert gone(world)
    assert retained(world)


async def test_delete_needs_the_secret_of_the_broker_alone(world: World) -> None:
    own = Key(KEY.namespace, "workers-own")
    world.cluster.secrets[own] = world.cluster.secrets[SECRET]
    await world.has(deletionPolicy="Delete", worker={"image": "acme/app:1", "secretRef": {"name": own.name}})
    del world.cluster.secrets[own]
    world.cluster.delete(KEY)
    await world.settle(10)
    assert gone(world)
    assert not world.broker.topology_.queues


async def test_invariant_8_a_spec_that_could_never_be_made_is_no_hindrance(world: World) -> None:
    await world.has(deletionPolicy="Delete", exchange={"name": "thumbnails.in"})
    assert world.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    world.cluster.delete(KEY)
    await world.settle(10)
    assert gone(world)


async def test_invariant_8_a_wall_that_is_torn_down_again_and_again_is_not_rebuilt_hot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    world.broker.taken.clear()
    taken: list[object] = []

    async def in_vain(steps: list[object]) -> None:
        taken.extend(steps)

    monkeypatch.setattr(world.broker, "apply", in_vain)
    world.cluster.delete(KEY)
    await world.settle(11)
    assert len(taken) <= 3 * 3 * 4
    assert "another client restores the bindings" in world.cluster.condition("Ready")["message"]


async def test_invariant_4_what_was_read_before_an_unbinding_without_an_answer_says_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    await world.settle(60)
    take, clock = world.broker.apply, asyncio.get_running_loop().time
    unbound: list[float] = []
    removed: list[float] = []

    async def unanswered(steps: Sequence[Step]) -> None:
        going = [step.item for step in steps if isinstance(step, Remove)]
        if any(isinstance(item, Binding) for item in going):
            await asyncio.sleep(15)
            await take(steps)
            unbound.append(clock())
            raise GONE_AWAY
        removed.extend(clock() for item in going if isinstance(item, Queue))
        await take(steps)

    monkeypatch.setattr(world.broker, "apply", unanswered)
    world.cluster.delete(KEY)
    await world.settle(60)
    assert gone(world)
    assert removed[0] - unbound[0] > 12


async def test_invariant_4_a_queue_that_somebody_makes_again_is_not_deleted_over_and_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has(deletionPolicy="DeleteIfEmpty")
    there, take, removed = world.broker.topology_, world.broker.apply, []

    async def undone(steps: Sequence[Step]) -> None:
        await take(steps)
        if any(isinstance(step, Remove) and isinstance(step.item, Queue) for step in steps):
            removed.append(steps)
            world.broker.topology_ = there
            world.broker.depths["thumbnails"] = (100, 0)
            assert len(removed) < 10, "hot"

    monkeypatch.setattr(world.broker, "apply", undone)
    world.cluster.delete(KEY)
    await world.settle(120)
    assert len(removed) == 1
    assert 'queue "thumbnails" holds 100 messages' in world.cluster.condition("Ready")["message"]


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_7_a_deletion_that_is_killed_anywhere_ends(world: World, policy: str) -> None:
    await world.has(deletionPolicy=policy)
    world.cluster.delete(KEY)
    for _ in range(30):
        if gone(world):
            break
        await world.settle(0.7)
        await world.restart()
    await world.settle(60)
    assert gone(world)
    assert (world.broker.topology_.queues, world.broker.topology_.exchanges) == ({}, {})
