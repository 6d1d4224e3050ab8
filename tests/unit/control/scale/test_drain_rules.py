"""Rules of scale-in on the whole controller, with workers that run tasks."""

import asyncio
from itertools import cycle

import pytest

from taskqueue_operator.drain.protocol import State
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.control.fake_workers import FakeWorker
from tests.unit.workers.pod_statuses import CRASHED, UNSCHEDULABLE, Body, container

from .simulated_workers import SimulatedWorkers, drain_token, start_simulated_workers

pytestmark = pytest.mark.looptime

AT_ONCE = {"readyPerReplica": 1, "idleSeconds": 0, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


def apply_scaling(harness: ControlHarness, **scaling: object) -> None:
    harness.cluster.put(taskqueue(scaling=AT_ONCE | scaling))


async def start_busy_workers(
    harness: ControlHarness, count: int, *, seconds: float, **scaling: object
) -> SimulatedWorkers:
    """Start as many workers as tasks; all tasks run."""
    workers = start_simulated_workers(harness)
    apply_scaling(harness, **{"maxReplicas": count} | scaling)
    await harness.settle()
    workers.publish(count, seconds=seconds)
    await harness.settle(20)
    assert len(workers.running) == count
    return workers


def doing(workers: SimulatedWorkers, state: State) -> list[FakeWorker]:
    return [worker for worker in workers.of(KEY) if worker.state is state]


@pytest.mark.slow
async def test_max_replicas_from_50_to_10_under_load_interrupts_no_task(harness: ControlHarness) -> None:
    workers = await start_busy_workers(harness, 50, seconds=90)
    workers.publish(40, seconds=10)
    apply_scaling(harness, maxReplicas=10)
    await harness.settle(10)
    assert harness.replicas() == 50
    assert len(doing(workers, State.CONSUMING)) == 10
    await harness.settle(80)
    assert harness.replicas() == 10
    assert len(doing(workers, State.CONSUMING)) == 10, "more tasks wait"
    await harness.settle(80)
    assert workers.of(KEY) == []
    assert {worker.state for worker in workers.removed} == {State.DRAINED}
    assert list(workers.done.values()) == [1] * 90


@pytest.mark.slow
async def test_min_replicas_counts_workers_that_consume(harness: ControlHarness) -> None:
    """A silent worker and a worker that does not start are no substitutes for consuming workers."""
    workers = await start_busy_workers(harness, 5, seconds=30, minReplicas=5)
    workers.of(KEY)[0].silent = True
    workers.of(KEY)[1].blocked_status = crashing(1)
    workers.running.clear()
    for worker in workers.of(KEY):
        worker.in_flight = 0
    await harness.settle(60)
    apply_scaling(harness, maxReplicas=5, minReplicas=3)
    await harness.settle(180)
    working = [
        worker for worker in doing(workers, State.CONSUMING) if not worker.silent and worker.blocked_status is None
    ]
    assert len(working) == 3
    assert len(workers.of(KEY)) == 4


@pytest.mark.slow
async def test_a_drain_never_blocks_a_scale_out(harness: ControlHarness) -> None:
    workers = await start_busy_workers(harness, 4, seconds=120)
    apply_scaling(harness, maxReplicas=1)
    await harness.settle(10)
    assert len(doing(workers, State.DRAINING)) == 3
    workers.publish(20, seconds=60)
    apply_scaling(harness, maxReplicas=12)
    await harness.settle(3)
    assert harness.replicas() == 12
    assert len(doing(workers, State.CONSUMING)) == 12


@pytest.mark.slow
async def test_the_removal_of_drained_workers_never_blocks_a_scale_out(harness: ControlHarness) -> None:
    """More tasks come while pods terminate: other drained workers stay drained for a moment."""
    workers = await start_busy_workers(harness, 4, seconds=30)
    lowered = asyncio.Event()
    harness.cluster.watches.append(lambda *_: lowered.set() if harness.replicas() < 4 else None)
    await lowered.wait()
    workers.publish(20, seconds=60)
    apply_scaling(harness, maxReplicas=12)
    await harness.settle(5)
    assert harness.replicas() == 12
    assert len(doing(workers, State.CONSUMING)) == 12


@pytest.mark.slow
async def test_an_outdated_idle_report_drains_no_busy_worker(harness: ControlHarness) -> None:
    """While messages are delayed, the last report of busy workers is that they are idle."""
    workers = await start_busy_workers(harness, 4, seconds=30, minReplicas=4)
    await harness.settle(42)
    workers.publish(2, seconds=100)
    end = asyncio.get_running_loop().time() + 20
    workers.arrivals = lambda _: (max(0.0, end - asyncio.get_running_loop().time()),)
    apply_scaling(harness, maxReplicas=4, minReplicas=2)
    await harness.settle(30)
    assert len(workers.running) == len(workers.of(KEY)) == harness.replicas() == 2
    assert len(doing(workers, State.CONSUMING)) == 2


@pytest.mark.slow
async def test_a_crash_looping_worker_is_removed_before_busy_workers(
    harness: ControlHarness,
) -> None:
    workers = await start_busy_workers(harness, 4, seconds=400)
    workers.of(KEY)[1].silent = True  # it does not run long enough to report
    crashes = asyncio.create_task(crash(workers, workers.of(KEY)[1]))
    harness.tasks.append(crashes)
    await harness.settle(60)
    busy = [worker for worker in workers.of(KEY) if worker.in_flight]
    assert len(busy) == 3
    apply_scaling(harness, maxReplicas=3)
    await harness.settle(90)
    assert workers.of(KEY) == busy
    assert workers.commands["drain"] == 0, "no other worker was drained"
    assert drain_token(harness) is None


@pytest.mark.slow
async def test_unschedulable_pods_are_removed_first(harness: ControlHarness) -> None:
    workers = start_simulated_workers(harness)
    workers.pod_capacity = 3
    apply_scaling(harness, minReplicas=3, maxReplicas=6)
    await harness.settle()
    workers.publish(9, seconds=200)
    await harness.settle(20)
    assert len(workers.running) == 3
    pending = [worker for worker in workers.of(KEY) if worker.blocked_status is UNSCHEDULABLE]
    assert len(pending) == 3
    workers.waiting.clear()
    await harness.settle(30)
    assert workers.removed == pending
    assert len(workers.running) == harness.replicas() == 3
    assert workers.commands["drain"] == 0


def crashing(restarts: int) -> Body:
    """A pod whose container waits to be started again."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"phase": "Running"} | container(waiting, ready=False, restartCount=restarts, lastState=CRASHED)


def begun(restarts: int) -> Body:
    """A pod whose container has just been started again."""
    return {"phase": "Running"} | container({"running": {}}, ready=False, restartCount=restarts, lastState=CRASHED)


async def crash(workers: SimulatedWorkers, worker: FakeWorker) -> None:
    """Let its container crash repeatedly."""
    workers.kill(worker)
    for restarts, state in enumerate(cycle((crashing, begun)), start=1):
        worker.blocked_status = state(restarts // 2)
        await asyncio.sleep(10 if state is crashing else 4)


@pytest.mark.slow
async def test_reports_do_not_accumulate_without_a_scale_in(harness: ControlHarness) -> None:
    workers = await start_busy_workers(harness, 3, seconds=10_000)
    await harness.settle(300)
    pool = harness.controller.states[KEY].drain.pool
    assert pool is not None
    assert [worker.in_flight for worker in pool.active] == [1, 1, 1], "their reports arrived"
    assert not pool._early_reports
    assert len(workers.of(KEY)) == 3
