"""Messages that may have ended a worker: counted, alone, and dead-lettered in the end; in virtual time."""

import asyncio
from typing import Any

import pytest

from taskqueue_worker import RetryRule
from taskqueue_worker.attempts import AttemptState
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.publishing.errors import PublishFailedError
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import FakeBroker, channel_of, delivery, make_worker, runner_of

pytestmark = pytest.mark.looptime


class Scene:
    """A worker of concurrency 3 whose tasks write when they start and end."""

    def __init__(self, rule: RetryRule | None = None) -> None:
        registry = Registry()
        self.ledger: list[str] = []
        self.broker = FakeBroker()

        @registry.task("t", retry=rule)
        async def run(payload: Any) -> None:  # noqa: ANN401 - any payload
            self.ledger.append(f"start {payload}")
            await asyncio.sleep(10)
            self.ledger.append(f"end {payload}")

        metrics = Metrics("ns/name", "1", ["t"])
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.worker = make_worker(
            runner_of(registry),
            metrics,
            asyncio.Event(),
            concurrency=3,
            max_attempts=3,
            broker=self.broker,
            until_quiet=self.quiet.wait,
        )

    def receive(self, name: str, *, redelivered: bool = False, **headers: object) -> Delivery:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        delivered = delivery(body=f'"{name}"'.encode(), headers=named, redelivered=redelivered)
        self.worker.receive(delivered)
        return delivered

    def copies(self) -> list[tuple[str, object, object]]:
        return [
            (key, message.headers.get("x-attempt"), message.headers.get("x-suspect"))
            for _, key, message in self.broker.sent
        ]


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_the_next_attempt_of_a_returned_message_is_recorded_before_it_may_begin(scene: Scene) -> None:
    returned = scene.receive("poison", redelivered=True)
    await scene.worker.wait_until_settled()
    assert scene.copies() == [("q", 2, "recorded")]
    assert channel_of(returned).settled == ["ack"]
    assert scene.ledger == []


async def test_a_message_whose_attempts_are_used_is_dead_lettered_with_the_reason(scene: Scene) -> None:
    scene.receive("poison", redelivered=True, x_attempt=3, x_suspect="recorded")
    await scene.worker.wait_until_settled()
    ((_, key, letter),) = scene.broker.sent
    assert key == "q.dlq"
    assert letter.headers["x-failure-reason"] == "worker_lost"
    assert letter.headers["x-attempt"] == 3
    assert scene.ledger == []


async def test_the_attempts_of_the_rule_of_a_task_are_those_of_a_task_that_ends_its_worker() -> None:
    scene = Scene(RetryRule(attempts=2))
    scene.receive("poison", redelivered=True, x_attempt=2, x_suspect="recorded")
    await scene.worker.wait_until_settled()
    assert scene.broker.reasons() == ["worker_lost"]


async def test_a_recorded_message_runs_alone(scene: Scene) -> None:
    scene.receive("a")
    scene.receive("suspect", x_attempt=2, x_suspect="recorded")
    scene.receive("b")
    await scene.worker.wait_until_settled()
    assert scene.ledger == ["start a", "end a", "start suspect", "end suspect", "start b", "end b"]


async def test_other_suspects_are_requeued_uncounted_before_one_runs(scene: Scene) -> None:
    scene.receive("a")
    scene.receive("first", x_attempt=2, x_suspect="recorded")
    early = scene.receive("early", x_attempt=3, x_suspect="recorded")
    returned = scene.receive("returned", redelivered=True)
    await asyncio.sleep(15)
    assert scene.copies() == [("q", 2, "returned")], "before it begins: it may end the process"
    assert [channel_of(item).settled for item in (early, returned)] == [["ack"], []]
    await scene.worker.wait_until_settled()
    assert scene.copies()[1:] == [("q", 2, "recorded")], "recorded after the one that ran alone"


async def test_a_suspect_begins_when_no_further_message_can_arrive(scene: Scene) -> None:
    """Otherwise it could end the process while another one that arrives is given back, and copy and message remain."""
    scene.quiet.clear()
    scene.receive("first", x_attempt=2, x_suspect="recorded")
    assert scene.worker.exclusive.is_set(), "the queues are to be consumed no longer"
    await asyncio.sleep(5)
    late = scene.receive("late", x_attempt=2, x_suspect="recorded")
    assert scene.ledger == []
    scene.quiet.set()
    await scene.worker.wait_until_settled()
    assert (scene.ledger, channel_of(late).settled) == (["start first", "end first"], ["ack"])
    assert scene.copies() == [("q", 1, "returned")]
    assert not scene.worker.exclusive.is_set()


async def test_a_suspect_begins_when_the_broker_has_processed_that_the_others_were_given_back(scene: Scene) -> None:
    """Otherwise the message and its copy both remain if the suspect ends the process."""
    scene.receive("a")
    scene.receive("first", x_attempt=2, x_suspect="recorded")
    early = scene.receive("early", x_attempt=3, x_suspect="recorded")
    channel_of(early).answer_seconds = 5
    await asyncio.sleep(14)
    assert (scene.ledger, channel_of(early).settled) == (["start a", "end a"], ["ack"])
    await asyncio.sleep(2)
    assert (scene.ledger[2:], channel_of(early).processed) == (["start first"], 1)
    await scene.worker.wait_until_settled()


async def test_a_suspect_that_was_requeued_is_recorded_after_a_pause(scene: Scene) -> None:
    scene.receive("s", x_attempt=1, x_suspect="returned")
    await scene.worker.wait_until_settled()
    assert 0 < asyncio.get_running_loop().time() <= 1
    assert scene.copies() == [("q", 2, "recorded")]


async def test_an_attempt_that_cannot_be_recorded_runs_alone_all_the_same(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("no permission")
    scene.receive("a")
    returned = scene.receive("returned", redelivered=True)
    await asyncio.sleep(0.5)
    assert scene.ledger == ["start a"]
    assert channel_of(returned).settled == []
    await asyncio.sleep(30)
    assert scene.ledger == ["start a", "end a", "start returned", "end returned"]
    assert channel_of(returned).settled == ["ack"]


async def test_a_suspect_that_cannot_be_requeued_by_a_copy_is_requeued(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("no permission")
    scene.receive("a")
    scene.receive("first", x_attempt=2, x_suspect="recorded")
    other = scene.receive("other", x_attempt=2, x_suspect="recorded")
    await asyncio.sleep(11)
    assert channel_of(other).settled == ["nack requeue=True"]
    await scene.worker.wait_until_settled()


async def test_of_a_message_that_was_requeued_before_it_began_nothing_is_recorded_where_the_broker_can_tell(
    scene: Scene,
) -> None:
    requeued = delivery(body=b'"a"', redelivered=True, counts_failures=True)
    assert requeued.attempt.state is AttemptState.NEW
    scene.worker.receive(requeued)
    await scene.worker.wait_until_settled()
    assert scene.ledger == ["start a", "end a"]
    assert scene.broker.sent == []


async def test_a_drained_worker_requeues_suspects_without_counting_an_attempt(scene: Scene) -> None:
    scene.receive("a")
    recorded = scene.receive("recorded", x_attempt=3, x_suspect="recorded")
    returned = scene.receive("returned", redelivered=True)
    scene.worker.stop_starting()
    assert await scene.worker.requeue(lambda _: True) == 2
    assert scene.copies() == [("q", 2, "returned")]
    assert channel_of(recorded).settled == ["ack"]
    assert channel_of(returned).settled == ["nack requeue=True"]
    await scene.worker.wait_until_settled()


async def test_a_drained_worker_requeues_a_suspect_whose_attempt_it_cannot_record(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("no permission")
    returned = scene.receive("returned", redelivered=True)
    scene.worker.stop_starting()
    await scene.worker.wait_until_settled()
    assert channel_of(returned).settled == ["nack requeue=True"]
    assert (scene.worker.in_flight, scene.worker.prefetched) == (0, 0)


async def test_a_task_that_ended_here_while_its_copy_waited_does_not_run_again(scene: Scene) -> None:
    lost = scene.receive("a")
    channel_of(lost).fault = ConnectionResetError()
    await asyncio.sleep(1)
    copy = scene.receive("a", x_attempt=2, x_suspect="recorded")
    await scene.worker.wait_until_settled()
    assert scene.ledger == ["start a", "end a"]
    assert channel_of(copy).settled == ["ack"]


async def test_of_a_lost_message_no_copy_is_made_and_it_does_not_run(scene: Scene) -> None:
    running = scene.receive("running")
    recorded = scene.receive("waiting", x_attempt=2, x_suspect="recorded")
    returned = scene.receive("returned", redelivered=True)
    for lost in (recorded, returned):
        channel_of(lost).is_closed = True
    await scene.worker.requeue(lambda delivery: delivery is recorded)
    await scene.worker.wait_until_settled()
    assert (scene.copies(), scene.ledger, channel_of(running).settled) == (
        [],
        ["start running", "end running"],
        ["ack"],
    )


async def test_a_suspect_that_is_lost_before_it_begins_does_not_run(scene: Scene) -> None:
    scene.quiet.clear()
    suspect = scene.receive("a", x_attempt=2, x_suspect="recorded")
    await asyncio.sleep(1)
    channel_of(suspect).is_closed = True
    scene.quiet.set()
    await scene.worker.wait_until_settled()
    assert (scene.ledger, scene.worker.in_flight) == ([], 0)
