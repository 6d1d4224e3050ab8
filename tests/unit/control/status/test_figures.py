"""When figures are written to the status."""

import pytest

from taskqueue_operator.topology.diff import Declare
from taskqueue_operator.topology.objects import Queue
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE

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


async def test_delayed_retries_are_in_the_status_once_there_was_one(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    assert "delayed" not in harness.cluster.status()["backlog"]
    markers, landing = Queue("taskqueue.delayed.thumbnails"), Queue("taskqueue.return.thumbnails")
    await harness.broker.apply([Declare(markers), Declare(landing)])
    harness.broker.depths[markers.name] = (40, 0)
    harness.broker.deferred[landing.name] = 2
    await harness.settle(60)
    assert harness.cluster.status()["backlog"]["delayed"] == 42
    assert harness.replicas() == 0, "they are not ready"
    harness.broker.depths.clear()
    harness.broker.deferred.clear()
    await harness.settle(60)
    assert harness.cluster.status()["backlog"]["delayed"] == 0
