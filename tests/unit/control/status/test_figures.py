"""When figures are written to the status."""

import pytest

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
