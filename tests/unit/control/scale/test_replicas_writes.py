"""Which replicas are written, and again after a refusal."""

import asyncio

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY

pytestmark = pytest.mark.looptime


async def test_after_a_conflict_the_scaler_reads_the_deployment_again(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.silent = True
    deployment = harness.cluster.deployments[KEY]
    await harness.cluster.scale(KEY, replicas=0, taskqueue=KEY.name, generation=deployment["metadata"]["generation"])
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
    await harness.apply(scaling={"maxReplicas": 2, "minReplicas": 2})
    await harness.settle(60)
    harness.cluster.writes.clear()
    harness.broker.depths["thumbnails"] = (40, 0)
    await harness.settle(60)
    assert harness.cluster.written("replicas") == []
