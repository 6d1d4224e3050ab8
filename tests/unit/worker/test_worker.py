"""The life of messages in a worker, in virtual time."""

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from taskqueue_worker.bounds import COUNTED_RETURNS, HELD_REQUEUE_SECONDS
from taskqueue_worker.brake import FAILURES, FIRST_PAUSE_SECONDS
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker
from tests.unit.worker.messages import FakeBroker, channel_of, delivery, make_worker, runner_of

pytestmark = pytest.mark.looptime


@dataclass
class WorkerHarness:
    worker: Worker
    runner: Runner
    metrics: Metrics
    state_changed: asyncio.Event
    broker: FakeBroker
    lost: list[Delivery]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"taskqueue_worker_{name}", labels)

    def receive(self, name: str = "second", count: int = 1) -> list[Delivery]:
        deliveries = [delivery(name) for _ in range(count)]
        for delivered in deliveries:
            self.worker.receive(delivered)
        return deliveries


def settled(*deliveries: Delivery) -> list[list[str]]:
    return [channel_of(delivered).settled for delivered in deliveries]


@pytest.fixture
async def harness() -> WorkerHarness:
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

    runner = runner_of(registry)
    metrics = Metrics("ns/name", "1", (handler.type for handler in registry))
    state_changed = asyncio.Event()
    lost: list[Delivery] = []
    broker = FakeBroker()
    worker = make_worker(
        runner, metrics, state_changed, concurrency=2, broker=broker, on_lost=lambda delivery, _: lost.append(delivery)
    )
    return WorkerHarness(worker, runner, metrics, state_changed, broker, lost)


async def test_running_tasks_never_exceed_the_concurrency(harness: WorkerHarness) -> None:
    deliveries = harness.receive(count=5)
    assert (harness.metric("in_flight"), harness.metric("prefetched")) == (2, 3)
    await harness.worker.wait_until_settled()
    assert asyncio.get_running_loop().time() == 3
    assert settled(*deliveries) == [["ack"]] * 5
    assert harness.metric("tasks_total", queue="q", type="second", status="done") == 5
    assert harness.metric("task_duration_seconds_count", queue="q", type="second") == 5


async def test_a_task_whose_message_is_lost_while_it_waits_does_not_run(harness: WorkerHarness) -> None:
    first, second, third = harness.receive(count=3)
    channel_of(third).is_closed = True
    await harness.worker.wait_until_settled()
    assert settled(first, second, third) == [["ack"], ["ack"], []]
    assert harness.metric("tasks_total", queue="q", type="second", status="done") == 2
    assert (harness.metric("in_flight"), harness.metric("prefetched")) == (0, 0)


async def test_a_worker_is_full_while_the_same_tasks_hold_all_slots(harness: WorkerHarness) -> None:
    worker = harness.worker
    harness.receive(count=1)
    assert worker.has_free_slot.is_set()
    await asyncio.sleep(0.6)
    assert not worker.is_full_for(0)
    harness.receive(count=3)
    assert not worker.has_free_slot.is_set()
    await asyncio.sleep(0.3)
    assert (worker.is_full_for(0.25), worker.is_full_for(0.5)) == (True, False)
    await asyncio.sleep(0.3)
    assert not worker.is_full_for(0.25), "another task has started meanwhile"
    await worker.wait_until_settled()
    assert worker.has_free_slot.is_set()


async def test_a_message_that_its_queue_counts_as_returned_is_kept_before_the_delivery_limit(
    harness: WorkerHarness,
) -> None:
    harness.receive(count=3)
    assert harness.worker.is_full_for(0)
    harness.worker.receive(delivery("second", headers={"x-delivery-count": COUNTED_RETURNS - 1}))
    assert harness.worker.is_full_for(0)
    harness.worker.receive(delivery("second", headers={"x-delivery-count": COUNTED_RETURNS}))
    assert not harness.worker.is_full_for(0)
    await harness.worker.wait_until_settled()


async def test_a_failed_task_is_dead_lettered_and_the_next_one_runs(harness: WorkerHarness) -> None:
    deliveries = [*harness.receive("fail"), *harness.receive("no.handler"), *harness.receive("second")]
    await harness.worker.wait_until_settled()
    assert settled(*deliveries) == [["ack"], ["ack"], ["ack"]]
    assert sorted(map(str, harness.broker.reasons())) == ["failed", "unknown_type"]
    assert harness.metric("tasks_total", queue="q", type="unknown", status="unknown_type") == 1


async def test_after_consecutive_failures_the_next_tasks_start_later_until_one_is_done(harness: WorkerHarness) -> None:
    clock = asyncio.get_running_loop().time
    failing = harness.receive("fail", count=FAILURES + 3)
    await asyncio.sleep(FIRST_PAUSE_SECONDS / 2)
    assert settled(*failing).count(["ack"]) == FAILURES
    await harness.worker.wait_until_settled()
    await asyncio.sleep(100)
    assert settled(*failing) == [["ack"]] * len(failing), "delayed, and not stopped"
    begun = clock()
    harness.receive("second", count=6)
    await harness.worker.wait_until_settled()
    assert clock() - begun == 4, "the first one alone, and then two at a time"


async def test_invalid_payloads_do_not_delay_the_tasks_behind_them(harness: WorkerHarness) -> None:
    for _ in range(1000):
        harness.worker.receive(delivery("second", body=b"[NaN]"))
    (good,) = harness.receive()
    await asyncio.sleep(2)
    assert settled(good) == [["ack"]]
    assert harness.broker.reasons() == ["invalid_payload"] * 1000


async def test_after_stop_starting_no_task_starts_and_waiting_messages_can_be_requeued(harness: WorkerHarness) -> None:
    deliveries = harness.receive(count=4)
    harness.worker.stop_starting()
    deliveries += harness.receive(count=1)
    await harness.worker.wait_until_settled()
    assert asyncio.get_running_loop().time() == 1, "running tasks have finished, their slots stay free"
    assert await harness.worker.requeue(lambda _: True) == 3
    assert settled(*deliveries) == [["ack"], ["ack"], *[["nack requeue=True"]] * 3]


async def test_after_resume_starting_waiting_messages_run(harness: WorkerHarness) -> None:
    harness.worker.stop_starting()
    deliveries = harness.receive(count=3)
    await asyncio.sleep(10)
    assert settled(*deliveries) == [[], [], []]
    harness.worker.resume_starting()
    await harness.worker.wait_until_settled()
    assert settled(*deliveries) == [["ack"]] * 3


async def test_state_changed_is_set_when_nothing_runs_and_nothing_can_start(harness: WorkerHarness) -> None:
    harness.receive(count=3)
    await asyncio.sleep(0.5)
    harness.worker.stop_starting()
    assert not harness.state_changed.is_set()
    await asyncio.wait_for(harness.state_changed.wait(), 1)
    assert (harness.worker.in_flight, harness.worker.prefetched) == (0, 1)


async def test_activity_counts_done_and_failed_tasks_and_their_run_time(harness: WorkerHarness) -> None:
    clock, activity = asyncio.get_running_loop().time, harness.worker.activity
    harness.receive("fail")
    await harness.worker.wait_until_settled()
    await asyncio.sleep(7)
    assert (activity.idle_seconds(clock()), activity.oldest_seconds(clock())) == (7, None)
    harness.receive("second", count=3)
    harness.receive("fail")
    await asyncio.sleep(0.25)
    assert (activity.idle_seconds(clock()), activity.oldest_seconds(clock())) == (0, 0.25)
    await harness.worker.wait_until_settled()
    assert (activity.completed, activity.failed, activity.busy_seconds) == (3, 2, 3)
    harness.receive("stubborn")
    await asyncio.sleep(60)
    assert activity.failed == 3
    assert activity.oldest_seconds(clock()) == 60, "it exceeded its timeout and still runs"
    await asyncio.sleep(200)
    assert activity.oldest_seconds(clock()) is None


async def test_a_requeued_task_counts_neither_as_failed_nor_as_done(harness: WorkerHarness) -> None:
    harness.receive("second")
    harness.worker.stop_starting()
    await asyncio.sleep(0.5)
    harness.runner.cancel_running()
    await harness.worker.wait_until_settled()
    activity = harness.worker.activity
    assert (activity.completed, activity.failed, activity.busy_seconds) == (0, 0, 0.5)


async def test_a_task_that_cannot_be_settled_is_counted_and_frees_its_slot(harness: WorkerHarness) -> None:
    (lost,) = harness.receive()
    channel_of(lost).fault = ConnectionResetError()
    await harness.worker.wait_until_settled()
    assert harness.metric("ack_failed_total") == 1
    assert harness.metric("in_flight") == 0


async def test_a_task_that_does_not_stop_is_settled_but_keeps_its_slot(harness: WorkerHarness) -> None:
    stubborn = harness.receive("stubborn", count=2)
    (waiting,) = harness.receive()
    await asyncio.sleep(60)
    assert settled(*stubborn, waiting) == [["ack"], ["ack"], []]
    assert harness.broker.reasons() == ["timeout", "timeout"]
    assert harness.lost == stubborn, "each slot is lost"
    assert (harness.metric("in_flight"), harness.metric("prefetched")) == (2, 1)
    await asyncio.sleep(300)
    assert settled(waiting) == [["ack"]]
    assert harness.metric("in_flight") == 0


async def test_cancelled_tasks_that_stop_are_requeued_and_the_others_stay_unsettled(harness: WorkerHarness) -> None:
    deliveries = [*harness.receive("second"), *harness.receive("stubborn")]
    harness.worker.stop_starting()
    await asyncio.sleep(0.5)
    harness.runner.cancel_running()
    await harness.worker.wait_until_settled()
    assert settled(*deliveries) == [["nack requeue=True"], []]
    assert harness.worker.in_flight == 1
    assert harness.lost == [], "it was cancelled, and is not overdue"
    assert harness.metric("ack_failed_total") == 0
    await asyncio.sleep(300)


class Refusing:
    """A middleware that gives back each task until a time."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.calls: list[float] = []

    @property
    def refused_seconds(self) -> float:
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        del call
        self.calls.append(asyncio.get_running_loop().time())
        if self.refused_seconds:
            raise Requeue(delay=self.refused_seconds)
        return await proceed()


@pytest.mark.parametrize(("refused", "started"), [(12, [12] * 4), (1000, [HELD_REQUEUE_SECONDS] * 2)])
async def test_no_message_starts_for_a_while_if_it_would_only_come_back(
    refused: int, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_time = asyncio.get_running_loop().time
    monkeypatch.setattr("taskqueue_worker.worker.time", SimpleNamespace(monotonic=loop_time, time=loop_time))
    registry, middleware = Registry(), Refusing(refused)

    @registry.task("charge", around=[middleware])
    async def charge(_: object) -> None:
        """Do nothing."""

    metrics, broker = Metrics("ns/name", "1", ["charge"]), FakeBroker()
    worker = make_worker(runner_of(registry), metrics, asyncio.Event(), concurrency=2, broker=broker)
    for _ in range(4):
        worker.receive(replace(delivery("charge"), received_at=0.0))
    assert worker.longest_wait_seconds == 0
    assert (worker.in_flight, worker.prefetched) == (0, 4)
    await asyncio.sleep(HELD_REQUEUE_SECONDS + 1)
    assert middleware.calls == started
