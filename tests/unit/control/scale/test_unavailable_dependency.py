"""No worker is added while the workers report that they do not reach a dependency."""

import pytest

from taskqueue_operator.drain.worker import REPORT_TIMEOUT
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_workers import FakeWorkers

pytestmark = pytest.mark.looptime

QUEUE = "thumbnails"


def say(workers: FakeWorkers, *missing: str) -> None:
    for worker in workers.by_pod.values():
        worker.report_overrides, worker.reported = {"unavailable_dependencies": list(missing)}, None


def limited(harness: ControlHarness) -> tuple[str, str]:
    condition = harness.cluster.condition("ScalingLimited")
    return condition["status"], condition["reason"]


async def started(harness: ControlHarness, ready: int) -> FakeWorkers:
    """Let workers run for a backlog, and report that one dependency is away."""
    workers = harness.start_workers()
    await harness.apply(scaling={"maxReplicas": 50, "readyPerReplica": 1, "idleSeconds": 5})
    harness.broker.depths[QUEUE] = (ready, 0)
    await harness.settle(20)
    assert harness.replicas() == ready
    say(workers, "payments")
    await harness.settle(2)
    return workers


async def test_no_worker_is_added_until_the_dependency_is_reached_again(harness: ControlHarness) -> None:
    workers = await started(harness, 4)
    harness.broker.depths[QUEUE] = (30, 0)
    await harness.settle(30)
    assert harness.replicas() == 4
    assert limited(harness) == ("True", "DependencyUnavailable")
    assert_approved("scaling.dependency_unavailable", harness.cluster.condition("ScalingLimited")["message"])
    say(workers)
    await harness.settle(5)
    assert harness.replicas() == 30
    assert limited(harness) == ("False", "DesiredWithinRange")


async def test_workers_are_removed_down_to_zero_and_one_tries_again(harness: ControlHarness) -> None:
    workers = await started(harness, 4)
    harness.broker.depths[QUEUE] = (0, 0)
    await harness.settle(150)
    assert harness.replicas() == 0
    harness.broker.depths[QUEUE] = (30, 0)
    await harness.settle(1)
    assert harness.replicas() >= 1
    assert workers.by_pod


async def test_workers_that_report_no_more_hold_nothing_back(harness: ControlHarness) -> None:
    workers = await started(harness, 4)
    for worker in workers.by_pod.values():
        worker.silent = True
    harness.broker.depths[QUEUE] = (30, 0)
    await harness.settle(REPORT_TIMEOUT.total_seconds() - 5)
    assert harness.replicas() == 4
    await harness.settle(10)
    assert harness.replicas() == 30
