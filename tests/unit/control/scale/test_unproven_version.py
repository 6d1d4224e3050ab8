"""A version of which no worker has been ready is tried by three; once one is ready, all follow."""

import pytest

from taskqueue_operator.resource.names import ANNOTATION_STARTED
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY
from tests.unit.workers.pod_statuses import READY, waiting

pytestmark = pytest.mark.looptime

SCALING = {"maxReplicas": 10, "readyPerReplica": 1}


async def test_three_workers_try_a_version_and_all_follow_once_one_is_ready(harness: ControlHarness) -> None:
    harness.cluster.workers_have_started = False
    harness.broker.depths["thumbnails"] = (30, 0)
    await harness.apply(scaling=SCALING)
    await harness.settle(25)
    assert harness.replicas() == 3
    assert harness.cluster.condition("ScalingLimited")["reason"] == "WorkersStarting"
    harness.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    await harness.settle(60)
    assert harness.replicas() == 3
    assert harness.cluster.condition("ScalingLimited")["reason"] == "WorkersFailing"
    harness.cluster.run_pods(KEY, status=READY)
    await harness.settle()
    assert harness.replicas() == 10


async def test_a_version_that_has_started_is_known_after_a_restart_of_the_operator(harness: ControlHarness) -> None:
    await test_three_workers_try_a_version_and_all_follow_once_one_is_ready(harness)
    annotations = harness.cluster.deployments[KEY]["metadata"]["annotations"]
    assert ANNOTATION_STARTED in annotations
    harness.cluster.run_pods(KEY, 0)
    await harness.restart()
    await harness.settle(20)
    assert harness.replicas() == 10
