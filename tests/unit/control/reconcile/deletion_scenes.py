"""What happens to a TaskQueue in several tests of its deletion."""

from taskqueue_operator.topology.diff import Declare
from taskqueue_operator.topology.objects import Queue
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY

MARKERS = Queue("taskqueue.delayed.thumbnails")
"""Holds a marker for each delayed retry."""


async def delay_retries(harness: ControlHarness, count: int) -> None:
    """Workers have delayed so many retries."""
    await harness.broker.apply([Declare(MARKERS)])
    harness.broker.depths[MARKERS.name] = (count, 0)


async def delete_with_workers(harness: ControlHarness) -> None:
    """The TaskQueue is deleted, and then its Deployment too, as at the end of a namespace."""
    harness.cluster.delete(KEY)
    await harness.settle(20)
    harness.cluster.remove("deployments", KEY)
    await harness.settle(20)
