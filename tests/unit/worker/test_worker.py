"""The life of messages in a worker, in virtual time."""

import asyncio
from dataclasses import dataclass

import pytest

from taskqueue_worker.delivery import Delivery
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker
from tests.unit.worker.messages import Message, message_of

pytestmark = pytest.mark.looptime


@dataclass
class Bench:
    worker: Worker
    runner: Runner
    metrics: Metrics
    news: asyncio.Event

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"taskqueue_worker_{name}", labels)

    def receive(self, name: str = "second", count: int = 1) -> list[Delivery]:
        deliveries = [Message.delivered(name) for _ in range(count)]
        for delivery in deliveries:
            self.worker.receive(delivery)
        return deliveries


def settled(*deliveries: Delivery) -> list[list[str]]:
    return [message_of(delivery).settled for delivery in deliveries]


@pytest.fixture
async def bench() -> Bench:
    registry = Registry()

    @registry.task("second")
    async def second(_: object) -> None:
        await asyncio.sleep(1)

    @registry.task("fail")
    async def fail(_: object) -> None:
        raise LookupError

    @registry.task("stubborn")
    async def stubborn(_: object) -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                continue

    runner = Runner(registry, timeout_seconds=50, threads=1, draining=asyncio.Event())
    metrics = Metrics("ns/name", "1", (handler.type for handler in registry))
    news = asyncio.Event()
    return Bench(Worker(runner, 2, metrics, news), runner, metrics, news)


async def test_no_more_run_at_once_than_may(bench: Bench) -> None:
    deliveries = bench.receive(count=5)
    assert (bench.metric("in_flight"), bench.metric("prefetched")) == (2, 3)
    await bench.worker.finish()
    assert asyncio.get_running_loop().time() == 3
    assert settled(*deliveries) == [["ack"]] * 5
    assert bench.metric("tasks_total", queue="q", type="second", status="done") == 5
    assert bench.metric("task_duration_seconds_count", queue="q", type="second") == 5


async def test_what_fails_is_rejected_and_what_comes_after_it_runs(bench: Bench) -> None:
    deliveries = [*bench.receive("fail"), *bench.receive("unheard"), *bench.receive("second")]
    await bench.worker.finish()
    assert settled(*deliveries) == [["reject requeue=False"], ["reject requeue=False"], ["ack"]]
    assert bench.metric("tasks_total", queue="q", type="unknown", status="unknown_type") == 1


async def test_after_the_stop_nothing_starts_and_what_waits_can_be_requeued(bench: Bench) -> None:
    deliveries = bench.receive(count=4)
    bench.worker.stop_starting()
    deliveries += bench.receive(count=1)
    await bench.worker.finish()
    assert asyncio.get_running_loop().time() == 1, "what ran has finished, and its slots stay empty"
    assert await bench.worker.give_back(lambda _: True) == 3
    assert settled(*deliveries) == [["ack"], ["ack"], *[["nack requeue=True"]] * 3]


async def test_when_it_starts_again_what_waits_runs(bench: Bench) -> None:
    bench.worker.stop_starting()
    deliveries = bench.receive(count=3)
    await asyncio.sleep(10)
    assert settled(*deliveries) == [[], [], []]
    bench.worker.start_again()
    await bench.worker.finish()
    assert settled(*deliveries) == [["ack"]] * 3


async def test_it_says_when_nothing_runs_any_more_and_nothing_will_start(bench: Bench) -> None:
    bench.receive(count=3)
    await asyncio.sleep(0.5)
    bench.worker.stop_starting()
    assert not bench.news.is_set()
    await asyncio.wait_for(bench.news.wait(), 1)
    assert (bench.worker.in_flight, bench.worker.prefetched) == (0, 1)


async def test_it_counts_what_was_done_and_what_failed_and_how_long_both_took(bench: Bench) -> None:
    clock, activity = asyncio.get_running_loop().time, bench.worker.activity
    bench.receive("fail")
    await bench.worker.finish()
    await asyncio.sleep(7)
    assert (activity.idle_seconds(clock()), activity.oldest_seconds(clock())) == (7, None)
    bench.receive("second", count=3)
    bench.receive("fail")
    await asyncio.sleep(0.25)
    assert (activity.idle_seconds(clock()), activity.oldest_seconds(clock())) == (0, 0.25)
    await bench.worker.finish()
    assert (activity.completed, activity.failed, activity.busy_seconds) == (3, 2, 3)
    bench.receive("stubborn")
    await asyncio.sleep(60)
    assert activity.failed == 3
    assert activity.oldest_seconds(clock()) == 60, "it is over its time, and runs still"
    await asyncio.sleep(200)
    assert activity.oldest_seconds(clock()) is None


async def test_a_task_that_is_requeued_has_neither_failed_nor_been_done(bench: Bench) -> None:
    bench.receive("second")
    bench.worker.stop_starting()
    await asyncio.sleep(0.5)
    bench.runner.hurry()
    await bench.worker.finish()
    activity = bench.worker.activity
    assert (activity.completed, activity.failed, activity.busy_seconds) == (0, 0, 0.5)


async def test_a_task_that_cannot_be_settled_is_counted_and_its_slot_is_free(bench: Bench) -> None:
    (lost,) = bench.receive()
    message_of(lost).fault = ConnectionResetError()
    await bench.worker.finish()
    assert bench.metric("ack_failed_total") == 1
    assert bench.metric("in_flight") == 0


async def test_what_does_not_stop_is_settled_but_keeps_its_slot(bench: Bench) -> None:
    stubborn = bench.receive("stubborn", count=2)
    (waiting,) = bench.receive()
    await asyncio.sleep(60)
    assert settled(*stubborn, waiting) == [["reject requeue=False"], ["reject requeue=False"], []]
    assert (bench.metric("in_flight"), bench.metric("prefetched")) == (2, 1)
    await asyncio.sleep(300)
    assert settled(waiting) == [["ack"]]
    assert bench.metric("in_flight") == 0


async def test_a_hurry_gives_back_what_stops_and_leaves_the_rest_to_the_end_of_the_process(bench: Bench) -> None:
    deliveries = [*bench.receive("second"), *bench.receive("stubborn")]
    bench.worker.stop_starting()
    await asyncio.sleep(0.5)
    bench.runner.hurry()
    await bench.worker.finish()
    assert settled(*deliveries) == [["nack requeue=True"], []]
    assert bench.worker.in_flight == 1
    assert bench.metric("ack_failed_total") == 0
    await asyncio.sleep(300)
