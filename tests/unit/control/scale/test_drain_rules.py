"""Rules of scale-in on the whole loop, with workers who work."""

import asyncio
from itertools import cycle

import pytest

from taskqueue_operator.drain.protocol import State
from tests.unit.control.conftest import World
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.control.fake_workers import FakeWorker
from tests.unit.workers.pod_statuses import CRASHED, UNSCHEDULABLE, Body, container

from .simulated_workers import SimulatedWorkers, drain_token, start_workers

pytestmark = pytest.mark.looptime

AT_ONCE = {"readyPerReplica": 1, "idleSeconds": 0, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


def asks(world: World, **scaling: object) -> None:
    world.cluster.put(taskqueue(scaling=AT_ONCE | scaling))


async def at_work(world: World, count: int, *, seconds: float, **scaling: object) -> SimulatedWorkers:
    """As many workers as tasks, each of which has begun with one."""
    workers = start_workers(world)
    asks(world, **{"maxReplicas": count} | scaling)
    await world.settle()
    workers.publish(count, seconds=seconds)
    await world.settle(20)
    assert len(workers.running) == count
    return workers


def doing(workers: SimulatedWorkers, state: State) -> list[FakeWorker]:
    return [worker for worker in workers.of(KEY) if worker.state is state]


async def test_lowering_max_replicas_from_50_to_10_under_load_cuts_nobody(world: World) -> None:
    workers = await at_work(world, 50, seconds=90)
    workers.publish(40, seconds=10)
    asks(world, maxReplicas=10)
    await world.settle(10)
    assert world.replicas() == 50
    assert len(doing(workers, State.CONSUMING)) == 10
    await world.settle(80)
    assert world.replicas() == 10
    assert len(doing(workers, State.CONSUMING)) == 10, "there is more to do"
    await world.settle(80)
    assert workers.of(KEY) == []
    assert {each.state for each in workers.removed} == {State.DRAINED}
    assert list(workers.done.values()) == [1] * 90


async def test_min_replicas_counts_workers_that_consume(world: World) -> None:
    """One that says nothing, and one that does not start, are no substitutes for those that work."""
    workers = await at_work(world, 5, seconds=30, minReplicas=5)
    workers.of(KEY)[0].silent = True
    workers.of(KEY)[1].obstacle = crashing(1)
    workers.running.clear()
    for worker in workers.of(KEY):
        worker.in_flight = 0
    await world.settle(60)
    asks(world, maxReplicas=5, minReplicas=3)
    await world.settle(180)
    working = [each for each in doing(workers, State.CONSUMING) if not each.silent and each.obstacle is None]
    assert len(working) == 3
    assert len(workers.of(KEY)) == 4


async def test_a_drain_never_blocks_a_scale_out(world: World) -> None:
    workers = await at_work(world, 4, seconds=120)
    asks(world, maxReplicas=1)
    await world.settle(10)
    assert len(doing(workers, State.DRAINING)) == 3
    workers.publish(20, seconds=60)
    asks(world, maxReplicas=12)
    await world.settle(3)
    assert world.replicas() == 12
    assert len(doing(workers, State.CONSUMING)) == 12


async def test_nor_does_the_removal_of_others(world: World) -> None:
    """The pods are about to go when there is more to do: who was drained with them stays drained for a moment."""
    workers = await at_work(world, 4, seconds=30)
    lowered = asyncio.Event()
    world.cluster.watches.append(lambda *_: lowered.set() if world.replicas() < 4 else None)
    await lowered.wait()
    workers.publish(20, seconds=60)
    asks(world, maxReplicas=12)
    await world.settle(5)
    assert world.replicas() == 12
    assert len(doing(workers, State.CONSUMING)) == 12


async def test_nobody_is_asked_to_go_by_what_it_said_before_it_began_to_work(world: World) -> None:
    """While messages are held up, the last word of those who work is that they are idle."""
    workers = await at_work(world, 4, seconds=30, minReplicas=4)
    await world.settle(42)
    workers.publish(2, seconds=100)
    end = asyncio.get_running_loop().time() + 20
    workers.fate = lambda _: (max(0.0, end - asyncio.get_running_loop().time()),)
    asks(world, maxReplicas=4, minReplicas=2)
    await world.settle(30)
    assert len(workers.running) == len(workers.of(KEY)) == world.replicas() == 2
    assert len(doing(workers, State.CONSUMING)) == 2


async def test_a_crash_looping_worker_neither_blocks_scale_in_for_ever_nor_shields_a_busy_one(world: World) -> None:
    workers = await at_work(world, 4, seconds=400)
    workers.of(KEY)[1].silent = True  # as it does not run long enough to say anything
    crashes = asyncio.create_task(crash(workers, workers.of(KEY)[1]))
    world.tasks.append(crashes)
    await world.settle(60)
    busy = [each for each in workers.of(KEY) if each.in_flight]
    assert len(busy) == 3
    asks(world, maxReplicas=3)
    await world.settle(90)
    assert workers.of(KEY) == busy
    assert workers.told["drain"] == 0, "nobody else was asked to go"
    assert drain_token(world) is None


async def test_pods_that_cannot_be_scheduled_are_the_first_to_go(world: World) -> None:
    workers = start_workers(world)
    workers.places = 3
    asks(world, minReplicas=3, maxReplicas=6)
    await world.settle()
    workers.publish(9, seconds=200)
    await world.settle(20)
    assert len(workers.running) == 3
    pending = [each for each in workers.of(KEY) if each.obstacle is UNSCHEDULABLE]
    assert len(pending) == 3
    workers.waiting.clear()
    await world.settle(30)
    assert workers.removed == pending
    assert len(workers.running) == world.replicas() == 3
    assert workers.told["drain"] == 0


def crashing(restarts: int) -> Body:
    """A pod whose container waits to be started again."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"phase": "Running"} | container(waiting, ready=False, restartCount=restarts, lastState=CRASHED)


def begun(restarts: int) -> Body:
    """A pod whose container has just been started again."""
    return {"phase": "Running"} | container({"running": {}}, ready=False, restartCount=restarts, lastState=CRASHED)


async def crash(workers: SimulatedWorkers, worker: FakeWorker) -> None:
    """Let its container end again and again, each time after a longer wait."""
    workers.kill(worker)
    for restarts, state in enumerate(cycle((crashing, begun)), start=1):
        worker.obstacle = state(restarts // 2)
        await asyncio.sleep(10 if state is crashing else 4)


async def test_reports_do_not_heap_up_while_nobody_is_to_go(world: World) -> None:
    workers = await at_work(world, 3, seconds=10_000)
    await world.settle(300)
    pool = world.control.states[KEY].drain.pool
    assert pool is not None
    assert [worker.in_flight for worker in pool.active] == [1, 1, 1], "they were heard"
    assert not pool._early_reports
    assert len(workers.of(KEY)) == 3
