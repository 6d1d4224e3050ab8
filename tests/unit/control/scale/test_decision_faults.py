"""Faults around a decision: it is never applied to another spec or queue, and never stops another decision."""

import asyncio

import pytest

from taskqueue_operator.control.state import DecisionState
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Sweep
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import FakeBroker
from tests.unit.control.fake_cluster import KEY, SECRET, FakeCluster, taskqueue

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

OTHER = Key("media", "other")
UNREADABLE = {"secretRef": {"name": "nowhere"}}
FALLBACK = {"maxReplicas": 20, "fallback": {"afterSeconds": 60, "replicas": 6, "behavior": "AtLeast"}}


async def test_invariant_2_a_queue_of_another_broker_is_not_decided_on_by_readings_of_the_former_broker(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.apply(broker=UNREADABLE)
    await harness.settle(300)
    assert harness.replicas() == 5
    assert harness.cluster.condition("ScalingActive")["status"] == "False"


@pytest.fixture
def flawed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the decision on one TaskQueue fail."""
    policy_of = DecisionState.policy_of

    def flawed(self: DecisionState, taskqueue: TaskQueue) -> Policy:
        if taskqueue.key == OTHER:
            raise ValueError("a bug")
        return policy_of(self, taskqueue)

    monkeypatch.setattr(DecisionState, "policy_of", flawed)


@pytest.mark.usefixtures("flawed")
@pytest.mark.parametrize("broker", [UNREADABLE, {"secretRef": {"name": SECRET.name}}], ids=["unread", "read"])
async def test_a_failed_decision_on_one_taskqueue_stops_no_other_decision(
    harness: ControlHarness, broker: dict[str, object]
) -> None:
    harness.cluster.put(taskqueue(OTHER, broker=broker))
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(30)
    assert harness.replicas() == 5
    assert harness.cluster.condition("BrokerReachable")["status"] == "True"


async def test_the_condition_of_a_failed_decision_ends_with_the_failure(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: DecisionState, __: TaskQueue) -> Policy:
        raise ValueError("a bug")

    await harness.apply()
    with monkeypatch.context() as patch:
        patch.setattr(DecisionState, "policy_of", broken)
        await harness.settle(20)
        assert harness.cluster.condition("Ready")["reason"] == "InternalError"
    await harness.settle(20)
    assert harness.cluster.condition("Ready")["status"] == "True"


async def test_a_refused_write_is_retried_with_backoff(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    async def refuse(_: FakeCluster, __: Key, *, replicas: int, **___: object) -> None:
        attempts.append(replicas)
        raise Fault(Reason.API_UNAVAILABLE, "refused")

    await harness.apply()
    monkeypatch.setattr(FakeCluster, "scale", refuse)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(60)
    assert 1 < len(attempts) < 20


async def test_a_decision_on_a_former_spec_is_not_applied(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (40, 0)
    await harness.settle(20)
    async with harness.controller.states[KEY].write_lock:
        harness.broker.depths["thumbnails"] = (100, 0)
        await harness.settle(2)
        harness.cluster.put(taskqueue(KEY, scaling={"maxReplicas": 20, "mode": "Paused"}))
    await harness.settle(20)
    assert harness.cluster.written("replicas") == [2]


async def test_invariant_5_a_lost_sweep_writes_nothing(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.cluster.writes.clear()
    sweep, lost = FakeBroker.sweep, iter([True])

    async def once_lost(self: FakeBroker) -> dict[str, Sweep]:
        if next(lost, False):
            await asyncio.sleep(4)
            raise BrokerFault(Reason.MANAGEMENT_UNREACHABLE, "no answer in time")
        return dict(await sweep(self))

    monkeypatch.setattr(FakeBroker, "sweep", once_lost)
    await harness.settle(120)
    assert harness.cluster.writes == []


async def test_invariant_5_an_empty_queue_at_the_minimum_writes_nothing(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 20, "minReplicas": 2})
    harness.cluster.run_pods(KEY)
    await harness.settle(300)
    assert harness.cluster.status()["decision"] == "ready 0 / 20 per replica = 0; raised to 2 by minReplicas"
    harness.cluster.writes.clear()
    await harness.restart()
    await harness.settle(3600)
    assert harness.cluster.writes == []


async def test_a_fallback_after_a_start_without_a_secret_is_reported(harness: ControlHarness) -> None:
    await harness.apply(scaling=FALLBACK)
    await harness.settle(30)
    del harness.cluster.secrets[SECRET]
    await harness.restart()
    await harness.settle(100)
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "Fallback")


async def test_a_fallback_starts_workers_of_a_queue_that_was_never_read(harness: ControlHarness) -> None:
    harness.cluster.secrets.clear()
    await harness.apply(scaling=FALLBACK)
    await harness.settle(100)
    assert harness.replicas() == 6
