"""Content and time of status writes."""

import asyncio

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import FORBIDDEN, UNREACHABLE
from tests.unit.control.fake_cluster import KEY, taskqueue

pytestmark = pytest.mark.looptime


async def busy(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 2, "minReplicas": 2})
    await harness.settle(60)
    harness.cluster.writes.clear()


@pytest.mark.slow
async def test_figures_alone_are_written_every_thirty_seconds(harness: ControlHarness) -> None:
    await busy(harness)
    for n in range(120):
        harness.broker.depths["thumbnails"] = (100 + n, 0)
        await harness.settle(1)
    assert 4 <= len(harness.cluster.written("status")) <= 6
    backlog = harness.cluster.status()["backlog"]["ready"]
    assert 180 <= backlog <= 219


@pytest.mark.slow
async def test_the_last_figures_are_written_at_last(harness: ControlHarness) -> None:
    await busy(harness)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(2)
    harness.broker.depths["thumbnails"] = (77, 0)
    await harness.settle(60)
    assert harness.cluster.status()["backlog"]["ready"] == 77


@pytest.mark.slow
async def test_figures_that_are_unknown_now_keep_their_last_value(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(60)
    before = harness.cluster.status()["backlog"]
    harness.broker.fault = UNREACHABLE
    await harness.settle(300)
    assert harness.cluster.status()["backlog"] == before


@pytest.mark.slow
async def test_a_queue_without_read_permission_affects_only_its_own_taskqueue(harness: ControlHarness) -> None:
    await harness.apply()
    other = Key("media", "more")
    harness.cluster.put(taskqueue(other))
    await harness.settle(60)
    harness.broker.refused["more"] = FORBIDDEN
    await harness.settle(60)
    for condition in ("BrokerReachable", "Ready", "Stalled"):
        observed = harness.cluster.condition(condition, other)
        assert (observed["reason"], observed["message"]) == (FORBIDDEN.reason, FORBIDDEN.message)
    assert harness.cluster.condition("ScalingActive", other)["status"] == "False"
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert harness.cluster.condition(condition)["status"] == "True"
    harness.broker.refused.clear()
    await harness.settle(60)
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert harness.cluster.condition(condition, other)["status"] == "True"


async def test_replicas_are_written_at_once(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(1.5)
    assert harness.cluster.status()["desiredReplicas"] == 5
    assert harness.cluster.status()["decision"] == "ready 100 / 20 per replica = 5"
    assert harness.cluster.status()["lastScaleTime"]
    assert ("Scaled", "From 0 to 5 workers: ready 100 / 20 per replica = 5") in harness.cluster.events


async def test_limits_are_a_condition(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 3})
    await harness.settle(30)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(5)
    limited = harness.cluster.condition("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "TooManyReplicas")
    assert limited["message"] == "limited to 3 by maxReplicas"


async def test_a_pause_is_a_condition(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 3, "mode": "Paused"})
    await harness.settle(30)
    assert harness.cluster.condition("ScalingActive")["reason"] == "Paused"


async def test_readiness_contains_its_observed_generation(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.apply(worker={"image": "acme/app:2"})
    assert harness.cluster.status()["observedGeneration"] == 2
    assert harness.cluster.condition("Ready")["observedGeneration"] == 2  # type: ignore[comparison-overlap]  # an int


async def test_after_a_conflict_the_scaler_reads_the_deployment_again(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.silent = True
    deployment = harness.cluster.deployments[KEY]
    await harness.cluster.scale(KEY, replicas=0, generation=deployment["metadata"]["generation"])
    harness.cluster.silent = False
    harness.cluster.writes.clear()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(3)
    assert harness.cluster.written("replicas") == [5]


async def test_refused_replicas_are_retried_with_backoff(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply()
    attempts: list[int] = []

    async def refuse(_: Key, *, replicas: int, **_conditions: object) -> Body:
        attempts.append(replicas)
        await asyncio.sleep(0.01)
        raise Conflict("refused")

    monkeypatch.setattr(harness.cluster, "scale", refuse)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    assert 2 <= len(attempts) <= 120  # at most once per reading and once per backoff


@pytest.mark.slow
async def test_unchanged_replicas_are_not_written(harness: ControlHarness) -> None:
    await busy(harness)
    harness.broker.depths["thumbnails"] = (40, 0)
    await harness.settle(60)
    assert harness.cluster.written("replicas") == []
