"""Keys are processed once at a time and in time, and no key delays another."""

import asyncio

import pytest

from taskqueue_operator.control.slots import Slots
from taskqueue_operator.control.workqueue import (
    EVENT_LOST_SECONDS,
    MAX_BACKOFF_SECONDS,
    RetryLater,
    WaitForEvent,
    WorkQueue,
)
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from tests.unit.control.running_queue import A, B, Worker, now, running
from tests.unit.iterations import counted_iterations

pytestmark = pytest.mark.looptime


async def test_other_tasks_run_between_the_starts_of_keys() -> None:
    ended = asyncio.Event()

    async def work(_: Key) -> None:
        iterations.record()
        if iterations.total == 64:
            ended.set()

    with counted_iterations() as iterations:
        async with running(work, slots=Slots(64)) as queue:
            for number in range(64):
                queue.add(Key("n", str(number)))
            await ended.wait()
    assert iterations.most == 1


async def test_a_key_that_is_added_repeatedly_is_processed_once() -> None:
    worker = Worker()
    async with running(worker) as queue:
        for _ in range(5):
            queue.add(A)
        assert len(queue) == 1
        await asyncio.sleep(10)
        assert worker.began == [(0, "a")]
        assert len(queue) == 0


async def test_a_key_added_during_its_processing_is_processed_again() -> None:
    worker = Worker(5)
    async with running(worker) as queue:
        queue.add(A)
        for _ in range(4):
            await asyncio.sleep(1)
            queue.add(A)
        await asyncio.sleep(20)
        assert worker.began == [(0, "a"), (5, "a")]


async def test_a_key_added_unless_backing_off_is_processed_again_after_any_backoff() -> None:
    worker = Worker(5)
    worker.fails[B] = RetryLater()
    async with running(worker) as queue:
        queue.add_unless_backing_off(A)
        queue.add_unless_backing_off(B)
        await asyncio.sleep(1)
        queue.add_unless_backing_off(A)
        queue.add_unless_backing_off(B)
        await asyncio.sleep(8)
        assert worker.began == [(0, "a"), (0, "b"), (5, "a"), (6, "b")]


async def test_the_earliest_time_applies() -> None:
    worker = Worker()
    async with running(worker) as queue:
        queue.add(A, 10)
        queue.add(A, 3)
        queue.add(A, 7)
        await asyncio.sleep(30)
        assert worker.began == [(3, "a")]


async def test_a_returned_delay_schedules_the_key_again() -> None:
    worker = Worker()
    worker.again[A] = 4
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(9)
        assert worker.began == [(0, "a"), (4, "a"), (8, "a")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure", [RetryLater(), Conflict(), Fault(Reason.API_UNAVAILABLE, "away"), ValueError("a bug")], ids=type
)
async def test_a_failure_is_retried_with_growing_backoff(failure: Exception) -> None:
    worker = Worker()
    worker.fails[A] = failure
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(100)
        times = [began for began, _ in worker.began]
        assert times == [0, 1, 3, 7, 15, 31, 61, 91]
        assert times[-1] - times[-2] == MAX_BACKOFF_SECONDS


async def test_a_success_resets_the_backoff() -> None:
    worker = Worker()
    worker.fails[A] = RetryLater()
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(8)
        worker.fails.clear()
        await asyncio.sleep(10)
        worker.fails[A] = RetryLater()
        worker.began.clear()
        queue.add(A)
        await asyncio.sleep(2)
        assert worker.began == [(18, "a"), (19, "a")]


async def test_the_jitter_covers_the_whole_delay() -> None:
    delays: list[tuple[float, float]] = []

    def jitter(least: float, most: float) -> float:
        delays.append((least, most))
        return 1.0

    worker = Worker()
    worker.fails[A] = RetryLater()
    queue = WorkQueue("test", worker, Slots(1), jitter=jitter)
    task = asyncio.create_task(queue.run())
    queue.add(A)
    await asyncio.sleep(3.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert delays == [(0, 1), (0, 2), (0, 4), (0, 8)]


async def test_a_new_event_does_not_wait_for_the_backoff() -> None:
    worker = Worker()
    worker.fails[A] = RetryLater()
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(20)
        worker.began.clear()
        queue.add(A)
        await asyncio.sleep(1)
        assert worker.began == [(20, "a")]


@pytest.mark.slow
async def test_a_key_that_always_fails_does_not_slow_other_keys() -> None:
    worker = Worker()
    worker.fails[A] = ValueError("poison")
    async with running(worker, slots=Slots(1)) as queue:
        queue.add(A)
        for _ in range(10):
            queue.add(B)
            await asyncio.sleep(1)
        assert [began for began, name in worker.began if name == "b"] == list(range(10))


async def test_the_number_of_workers_limits_parallel_processing() -> None:
    worker = Worker(1)
    async with running(worker, slots=Slots(2)) as queue:
        for n in range(6):
            queue.add(Key("n", str(n)))
        await asyncio.sleep(10)
        assert [began for began, _ in worker.began] == [0, 0, 1, 1, 2, 2]


async def test_a_forgotten_key_is_not_retried() -> None:
    worker = Worker()
    worker.fails[A] = RetryLater()
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(0.5)
        queue.forget(A)
        await asyncio.sleep(60)
        assert len(worker.began) == 1


async def test_a_stop_cancels_running_work() -> None:
    worker = Worker(100)
    async with running(worker) as queue:
        queue.add(A)
        await asyncio.sleep(1)
    assert now() == 1


async def test_wait_idle_returns_once_no_key_is_due_and_one_share_of_the_slots_is_in_use() -> None:
    async with running(Worker(seconds=1), slots=Slots(2)) as queue:
        await queue.wait_idle(5)
        assert now() == 0
        for name in "abc":
            queue.add(Key("n", name))
        await asyncio.sleep(0.5)
        await queue.wait_idle(5)
        assert now() == 1


async def test_wait_idle_returns_at_its_timeout() -> None:
    async with running(Worker(seconds=60)) as queue:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(0.5)
        await queue.wait_idle(2)
        assert now() == 2.5


async def test_a_key_that_waits_for_an_event_is_tried_again_at_the_event_or_after_a_long_time() -> None:
    worker = Worker()
    worker.fails[A] = worker.fails[B] = WaitForEvent()
    async with running(worker) as queue:
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(5)
        queue.add(A)
        await asyncio.sleep(EVENT_LOST_SECONDS)
        assert worker.began == [(0, "a"), (0, "b"), (5, "a"), (EVENT_LOST_SECONDS, "b")]
