"""A HorizontalPodAutoscaler on the same Deployment: the operator gives way, and says so."""

import copy

import pytest

from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY

pytestmark = pytest.mark.looptime


async def reverse(harness: ControlHarness, replicas: int) -> None:
    """Change the number of replicas as another client does."""
    deployment = copy.deepcopy(harness.cluster.deployments[KEY])
    deployment["spec"]["replicas"] = replicas
    deployment["metadata"]["generation"] += 1
    harness.cluster._store("deployments", deployment)
    await harness.settle(15)


async def test_an_autoscaler_that_reverses_each_write_causes_no_swings(harness: ControlHarness) -> None:
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.apply()
    await harness.settle(25)
    assert harness.replicas() == 5
    for _ in range(2):
        await reverse(harness, 2)
        assert harness.replicas() == 5, "a change of a person lasts until the next decision"
    await reverse(harness, 2)
    assert harness.replicas() == 2
    written = len(harness.cluster.written("replicas"))
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("False", "ReplicasConflict")
    assert_approved("scaling.replicas_conflict", condition["message"])
    await harness.settle(4 * 60)
    assert len(harness.cluster.written("replicas")) == written
    await harness.settle(60)
    assert harness.replicas() == 5
    await harness.settle(6 * 60)
    assert harness.cluster.condition("ScalingActive")["status"] == "True"


@pytest.mark.slow
async def test_the_operator_tries_again_at_growing_intervals(harness: ControlHarness) -> None:
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.apply()
    for _ in range(3):
        await reverse(harness, 2)
    for minutes in (5, 15, 60):
        written = len(harness.cluster.written("replicas"))
        await harness.settle(60 * minutes - 30)
        assert len(harness.cluster.written("replicas")) == written
        await harness.settle(40)
        assert len(harness.cluster.written("replicas")) == written + 1
        await reverse(harness, 2)
