"""What goes wrong beside a decision: it is never carried out on something else, and never stops another."""

import asyncio

import pytest

from taskqueue_operator.control.state import DecisionState
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Sweep
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import FakeBroker
from tests.unit.control.fake_cluster import KEY, SECRET, FakeCluster, taskqueue

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

OTHER = Key("media", "other")
UNREADABLE = {"secretRef": {"name": "nowhere"}}
FALLBACK = {"maxReplicas": 20, "fallback": {"afterSeconds": 60, "replicas": 6, "behavior": "AtLeast"}}


async def test_invariant_2_a_queue_elsewhere_is_not_judged_by_the_broker_of_before(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.broker.depths["thumbnails"] = (0, 0)
    await world.has(broker=UNREADABLE)
    await world.settle(300)
    assert world.replicas() == 5
    assert world.cluster.condition("ScalingActive")["status"] == "False"


@pytest.fixture
def flawed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that shows in the decision on one TaskQueue."""
    policy_of = DecisionState.policy_of

    def flawed(self: DecisionState, taskqueue: TaskQueue) -> Policy:
        if taskqueue.key == OTHER:
            raise ValueError("a bug")
        return policy_of(self, taskqueue)

    monkeypatch.setattr(DecisionState, "policy_of", flawed)


@pytest.mark.usefixtures("flawed")
@pytest.mark.parametrize("broker", [UNREADABLE, {"secretRef": {"name": SECRET.name}}], ids=["unread", "read"])
async def test_a_failed_decision_on_one_taskqueue_stops_no_other(world: World, broker: dict[str, object]) -> None:
    world.cluster.put(taskqueue(OTHER, broker=broker))
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(30)
    assert world.replicas() == 5
    assert world.cluster.condition("BrokerReachable")["status"] == "True"


async def test_the_condition_of_a_failed_decision_ends_with_the_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: DecisionState, __: TaskQueue) -> Policy:
        raise ValueError("a bug")

    await world.has()
    with monkeypatch.context() as patch:
        patch.setattr(DecisionState, "policy_of", broken)
        await world.settle(20)
        assert world.cluster.condition("Ready")["reason"] == "InternalError"
    await world.settle(20)
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_a_write_that_is_refused_is_not_repeated_hot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []

    async def refuse(self: FakeCluster, key: Key, *, replicas: int, generation: int) -> None:  # noqa: ARG001
        attempts.append(replicas)
        raise Fault(Reason.API_UNAVAILABLE, "refused")

    await world.has()
    monkeypatch.setattr(FakeCluster, "scale", refuse)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(60)
    assert 1 < len(attempts) < 20


async def test_what_was_decided_by_another_spec_is_not_carried_out(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (40, 0)
    await world.settle(20)
    async with world.control.states[KEY].write_lock:
        world.broker.depths["thumbnails"] = (100, 0)
        await world.settle(2)
        world.cluster.put(taskqueue(KEY, scaling={"maxReplicas": 20, "mode": "Paused"}))
    await world.settle(20)
    assert world.cluster.written("replicas") == [2]


async def test_invariant_5_a_lost_sweep_is_no_news(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.has()
    await world.settle(60)
    world.cluster.writes.clear()
    sweep, lost = FakeBroker.sweep, iter([True])

    async def once_lost(self: FakeBroker) -> dict[str, Sweep]:
        if next(lost, False):
            await asyncio.sleep(4)
            raise BrokerFault(Reason.MANAGEMENT_UNREACHABLE, "no answer in time")
        return dict(await sweep(self))

    monkeypatch.setattr(FakeBroker, "sweep", once_lost)
    await world.settle(120)
    assert world.cluster.writes == []


async def test_invariant_5_a_minimum_with_nothing_to_do_is_no_news(world: World) -> None:
    await world.has(scaling={"maxReplicas": 20, "minReplicas": 2})
    world.cluster.run_pods(KEY)
    await world.settle(300)
    assert world.cluster.status()["decision"] == "ready 0 / 20 per replica = 0; raised to 2 by minReplicas"
    world.cluster.writes.clear()
    await world.restart()
    await world.settle(3600)
    assert world.cluster.writes == []


async def test_a_fallback_after_a_start_without_a_secret_is_told(world: World) -> None:
    await world.has(scaling=FALLBACK)
    await world.settle(30)
    del world.cluster.secrets[SECRET]
    await world.restart()
    await world.settle(100)
    active = world.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "Fallback")


async def test_a_fallback_has_workers_of_a_queue_that_was_never_seen(world: World) -> None:
    world.cluster.secrets.clear()
    await world.has(scaling=FALLBACK)
    await world.settle(100)
    assert world.replicas() == 6
