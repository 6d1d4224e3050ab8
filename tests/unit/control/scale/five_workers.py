"""Five workers that are not all needed any more."""

from collections import Counter
from collections.abc import Mapping

from taskqueue_operator.drain.protocol import State
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY
from tests.unit.control.fake_workers import FakeWorkers

AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
SCALING = {"maxReplicas": 20, "behavior": AT_ONCE, "idleSeconds": 0}
WORKER = {"image": "acme/app:1.4"}


async def start_five_workers(
    harness: ControlHarness, worker: Mapping[str, object] = WORKER, **scaling: object
) -> FakeWorkers:
    """Start five workers, of which one runs a task."""
    workers = harness.start_workers()
    await harness.apply(worker=worker, scaling=SCALING | scaling)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    assert len(workers.of(KEY)) == 5
    workers.of(KEY)[0].in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 1)
    return workers


async def start_five_draining(harness: ControlHarness) -> FakeWorkers:
    """Start five workers that all run a task, of which four drain."""
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 5)
    await harness.apply(scaling={"maxReplicas": 1, "behavior": AT_ONCE})
    await harness.settle(20)
    assert Counter(worker.state for worker in workers.of(KEY)) == {State.DRAINING: 4, State.CONSUMING: 1}
    return workers
