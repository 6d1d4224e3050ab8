"""Dead letters: stored before the message goes, whatever the dead-letter queue does; in virtual time."""

import asyncio

import pytest
from aio_pika import Message
from structlog.testing import capture_logs

from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_worker.bounds import RETRY_TRIES
from taskqueue_worker.dead_letters import Problem
from taskqueue_worker.failure import Failure
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.publishing.errors import PublishFailedError
from taskqueue_worker.retries import Retries
from taskqueue_worker.retry_policy import RetryPolicy
from taskqueue_worker.run_outcome import Outcome, Status
from taskqueue_worker.settlement import Settlement
from tests.unit.worker.messages import FakeBroker, channel_of, delivery

pytestmark = pytest.mark.looptime
PROBLEM = Problem("failed", "LookupError", "no such image")


class Scene:
    def __init__(self, target: DeadLetterTarget, *, by_broker: bool = False) -> None:
        self.broker = FakeBroker()
        self.ladder = FakeBroker()
        self.delays_ms: list[int] = []
        self.metrics = Metrics("ns/name", "1", ["t"])
        self.state_changed = asyncio.Event()
        retries = Retries(RetryPolicy(3, initial_seconds=5, max_seconds=60, by_broker=by_broker), self.delay)
        self.settlement = Settlement(self.broker.send, target, self.metrics, self.state_changed, retries)

    async def delay(self, message: Message, queue: str, delay_ms: int) -> None:
        self.delays_ms.append(delay_ms)
        await self.ladder.send(message, "delayed", queue)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"taskqueue_worker_{name}", labels)


@pytest.fixture
async def scene() -> Scene:
    return Scene(DeadLetterTarget())


async def test_a_message_is_acknowledged_after_its_dead_letter_is_confirmed(scene: Scene) -> None:
    delivered = delivery()
    assert await scene.settlement.dead_letter(delivered, PROBLEM)
    assert [(exchange, key) for exchange, key, _ in scene.broker.sent] == [("", "q.dlq")]
    assert channel_of(delivered).settled == ["ack"]
    assert scene.metric("dead_letters_total", queue="q", reason="failed") == 1


async def test_dead_letters_go_to_the_exchange_and_routing_key_of_the_settings() -> None:
    scene = Scene(DeadLetterTarget("dlx", "failed"))
    await scene.settlement.dead_letter(delivery(), PROBLEM)
    assert [(exchange, key) for exchange, key, _ in scene.broker.sent] == [("dlx", "failed")]


async def test_a_message_waits_until_its_dead_letter_can_be_stored(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("no such queue")
    delivered = delivery()
    with capture_logs() as logs:
        storing = asyncio.ensure_future(scene.settlement.dead_letter(delivered, PROBLEM))
        await asyncio.sleep(120)
    assert channel_of(delivered).settled == []
    assert (scene.metric("dead_letters_blocked"), scene.settlement.blocked) == (1, 1)
    assert scene.state_changed.is_set(), "it is reported"
    scene.state_changed.clear()
    assert 3 < len(logs) < 60, "said each time, with backoff"
    assert {line["event"] for line in logs} == {"dead letter not stored"}
    scene.broker.fault = None
    assert await storing
    assert channel_of(delivered).settled == ["ack"]
    assert scene.metric("dead_letters_blocked") == 0
    assert scene.state_changed.is_set()


async def test_a_worker_that_stops_requeues_what_it_cannot_dead_letter(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("no such queue")
    delivered = delivery()
    storing = asyncio.ensure_future(scene.settlement.dead_letter(delivered, PROBLEM))
    await asyncio.sleep(5)
    scene.settlement.stopping.set()
    assert await storing
    assert channel_of(delivered).settled == ["nack requeue=True"]
    assert scene.metric("dead_letters_total", queue="q", reason="failed") is None


async def test_a_message_whose_channel_is_lost_is_not_dead_lettered_twice(scene: Scene) -> None:
    scene.broker.fault = PublishFailedError("connection lost")
    delivered = delivery()
    storing = asyncio.ensure_future(scene.settlement.dead_letter(delivered, PROBLEM))
    await asyncio.sleep(1)
    channel_of(delivered).is_closed = True
    scene.broker.fault = None
    assert not await storing
    assert (scene.broker.sent, channel_of(delivered).settled) == ([], [])


LOST = Outcome(Status.WORKER_LOST, Failure("ChildLostError", "signal 11", ""))


async def test_without_retries_a_message_whose_child_was_lost_returns_for_its_next_attempt(scene: Scene) -> None:
    metrics = Metrics("ns/name", "1", ["t"])
    scene.settlement = Settlement(scene.broker.send, DeadLetterTarget(), metrics, scene.state_changed)
    delivered = delivery(headers={"x-attempt": 2})
    assert await scene.settlement.settle(delivered, LOST, is_last=False)
    ((exchange, queue, copy),) = scene.broker.sent
    assert (exchange, queue, copy.headers["x-attempt"], copy.headers["x-suspect"]) == ("", "q", 3, "recorded")
    assert channel_of(delivered).settled == ["ack"]
    assert await scene.settlement.settle(delivery(headers={"x-attempt": 3}), LOST, is_last=True)
    assert scene.broker.reasons() == [None, "worker_lost"]


async def test_with_retries_a_message_whose_child_was_lost_is_delayed(scene: Scene) -> None:
    assert await scene.settlement.settle(delivery(), LOST, is_last=False)
    ((_, _, copy),) = scene.ladder.sent
    assert (copy.headers["x-attempt"], copy.headers["x-failure-class"]) == (2, "ChildLostError")
    assert scene.broker.sent == []


FAILED = Outcome(Status.FAILED, Failure("LookupError", "no such image", ""))


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMEOUT])
async def test_a_failed_task_is_acknowledged_after_its_retry_is_confirmed(scene: Scene, status: Status) -> None:
    headers = {
        "x-attempt": 2,
        "x-suspect": "recorded",
        "x-first-failure-at": "then",
        "CC": ["q2"],
        "x-death": [],
        "a": 1,
    }
    delivered = delivery(headers=headers, user_id="guest", priority=3)
    assert await scene.settlement.settle(delivered, Outcome(status, FAILED.failure))
    ((_, queue, copy),) = scene.ladder.sent
    assert (queue, copy.message_id, copy.type, copy.priority, copy.user_id) == ("q", "id", "t", 3, None)
    assert copy.headers.keys() == {
        "a", "x-attempt", "x-failure-class", "x-failure-text", "x-first-failure-at", "x-last-failure-at",
        "x-original-exchange", "x-original-routing-key",
    }  # fmt: skip
    assert (copy.headers["x-attempt"], copy.headers["x-first-failure-at"]) == (3, "then")
    assert (copy.headers["x-failure-class"], copy.headers["x-failure-text"]) == ("LookupError", "no such image")
    assert 1 <= scene.delays_ms[0] <= 10_000
    assert (channel_of(delivered).settled, scene.broker.sent) == (["ack"], [])
    assert scene.metric("retries_total", queue="q") == 1


async def test_delays_have_full_jitter(scene: Scene) -> None:
    for _ in range(200):
        await scene.settlement.settle(delivery(), FAILED)
    assert min(scene.delays_ms) < 1000
    assert 4000 < max(scene.delays_ms) <= 5000


@pytest.mark.parametrize(
    ("attempt", "status"), [(3, Status.FAILED), (1, Status.UNKNOWN_TYPE), (1, Status.INVALID_PAYLOAD)]
)
async def test_after_the_last_attempt_and_where_a_retry_cannot_help_the_message_is_dead_lettered(
    scene: Scene, attempt: int, status: Status
) -> None:
    delivered = delivery(headers={"x-attempt": attempt})
    assert await scene.settlement.settle(delivered, Outcome(status, FAILED.failure))
    assert scene.ladder.sent == []
    ((_, _, letter),) = scene.broker.sent
    assert (letter.headers["x-failure-reason"], letter.headers["x-attempt"]) == (status.value, attempt)
    assert channel_of(delivered).settled == ["ack"]


async def test_where_the_broker_delays_a_failed_message_is_rejected_until_its_last_attempt() -> None:
    scene = Scene(DeadLetterTarget(), by_broker=True)
    settled = []
    for attempt in (2, 3):
        delivered = delivery(headers={"x-attempt": attempt})
        assert await scene.settlement.settle(delivered, FAILED)
        settled.append(channel_of(delivered).settled)
    assert settled == [["reject requeue=True"], ["ack"]]
    assert (scene.ladder.sent, scene.broker.reasons()) == ([], ["failed"])
    assert scene.metric("retries_total", queue="q") == 1
    delivered = delivery()
    channel_of(delivered).fault = RuntimeError("channel closed")
    assert not await scene.settlement.settle(delivered, FAILED), "it is remembered, and settled at its redelivery"
    assert scene.metric("retries_total", queue="q") == 1


async def test_a_task_whose_retry_cannot_be_stored_is_dead_lettered_within_seconds(scene: Scene) -> None:
    scene.ladder.fault = PublishFailedError("access refused")
    delivered = delivery()
    with capture_logs() as logs:
        assert await scene.settlement.settle(delivered, FAILED)
    assert [line["event"] for line in logs] == ["retry not stored"] * RETRY_TRIES
    assert asyncio.get_running_loop().time() < 20
    assert (scene.broker.reasons(), channel_of(delivered).settled) == (["failed"], ["ack"])


async def test_a_worker_that_stops_stores_the_retry_of_a_task_that_fails_last(scene: Scene) -> None:
    scene.settlement.stopping.set()
    delivered = delivery()
    assert await scene.settlement.settle(delivered, FAILED)
    assert (len(scene.ladder.sent), channel_of(delivered).settled) == (1, ["ack"])


async def test_a_worker_that_stops_requeues_what_it_can_store_nowhere(scene: Scene) -> None:
    scene.ladder.fault = scene.broker.fault = PublishFailedError("no broker")
    scene.settlement.stopping.set()
    delivered = delivery()
    assert await scene.settlement.settle(delivered, FAILED)
    assert channel_of(delivered).settled == ["nack requeue=True"]


async def test_a_message_whose_channel_is_lost_is_stored_nowhere(scene: Scene) -> None:
    scene.ladder.fault = PublishFailedError("connection lost")
    delivered = delivery()
    channel_of(delivered).is_closed = True
    assert not await scene.settlement.settle(delivered, FAILED)
    assert (scene.ladder.sent, scene.broker.sent, channel_of(delivered).settled) == ([], [], [])


async def test_of_a_failed_task_whose_message_is_lost_no_retry_is_stored(scene: Scene) -> None:
    delivered = delivery()
    channel_of(delivered).is_closed = True
    assert not await scene.settlement.settle(delivered, Outcome(Status.FAILED, Failure.of(LookupError())))
    assert (scene.ladder.sent, scene.broker.sent) == ([], [])
