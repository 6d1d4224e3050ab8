"""A scenario in which workers are drained, undrained and removed, while a test adds faults.

Four workers, of which two are soon idle; then the maximum is set below the number of busy workers; then there are more
tasks than before; then none.
"""

import asyncio
from collections.abc import Collection

from taskqueue_operator.drain.protocol import State
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY, taskqueue

from .simulated_workers import SimulatedWorkers, drain_token, start_simulated_workers

SCALING = {
    "maxReplicas": 4,
    "readyPerReplica": 1,
    "idleSeconds": 0,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
SETTLE_SECONDS = 130
"""Time to the end of the scenario without further faults: longer than a lease and a report timeout."""
TAKEOVER = 20.0
"""Maximum seconds until another operator leads."""
MAX_COMMANDS = 100
"""To eight workers in total, also from two competing leaders."""
LOWERED, RAISED = 23.0, 48.0
"""When the maximum is set below the number of busy workers, and when it is raised again."""


async def run_scenario(harness: ControlHarness, workers: SimulatedWorkers | None = None) -> SimulatedWorkers:
    """Run the scenario to its end; the test adds the faults."""
    workers = workers or start_simulated_workers(harness)
    harness.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    workers.publish(2, seconds=60)
    workers.publish(2, seconds=5)
    await until(LOWERED)
    harness.cluster.put(taskqueue(scaling=SCALING | {"maxReplicas": 1}))
    await until(RAISED)
    workers.publish(4, seconds=10)
    harness.cluster.put(taskqueue(scaling=SCALING))
    for _ in range(SETTLE_SECONDS):
        await asyncio.sleep(1)
        if not (workers.waiting or workers.running or workers.of(KEY) or drain_token(harness)):
            break
    await harness.settle(TAKEOVER + 5)
    return workers


async def until(second: float) -> None:
    """Wait until so many seconds have passed since the beginning."""
    await asyncio.sleep(second - asyncio.get_running_loop().time())


def assert_no_harm(
    harness: ControlHarness, workers: SimulatedWorkers, *, times: Collection[int] = (1,), stay: int = 0
) -> None:
    """Only drained workers were removed, each task was done as often as expected, and no surplus worker is left."""
    assert {worker.state for worker in workers.removed} == {State.DRAINED}
    assert len(workers.done) == 8
    assert set(workers.done.values()) <= set(times)
    assert len(workers.of(KEY)) == harness.replicas() == stay
    assert {worker.state for worker in workers.of(KEY)} <= {State.CONSUMING}
    assert drain_token(harness) is None or stay, "it is written while workers are drained"
    assert sum(len(channel.sent) for channel in harness.broker.control_channels) <= MAX_COMMANDS
