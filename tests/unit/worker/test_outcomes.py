"""What Retry, Reject and Requeue do to the message of their task, in virtual time."""

import asyncio
import pickle

import pytest

from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_worker import Reject, Requeue, Retry
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.failure import Failure
from taskqueue_worker.publishing.errors import PublishFailedError
from taskqueue_worker.run_outcome import Outcome, Status
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import channel_of, delivery, runner_of
from tests.unit.worker.test_settlement import Scene

pytestmark = pytest.mark.looptime


async def settled(scene: Scene, error: Exception, delivered: Delivery) -> tuple[Status, bool]:
    """Run a handler that raises the error, and settle the message."""
    registry = Registry()

    @registry.task("t")
    async def handler(_: object) -> None:
        raise error

    outcome = await runner_of(registry).run(delivered)
    return outcome.status, await scene.settlement.settle(delivered, outcome)


@pytest.fixture
async def scene() -> Scene:
    return Scene(DeadLetterTarget())


@pytest.fixture
async def linear() -> Scene:
    return Scene(DeadLetterTarget(), by_broker=True)


async def test_retry_delays_the_next_attempt_as_long_as_it_says(scene: Scene) -> None:
    delivered = delivery(headers={"x-attempt": 2})
    assert await settled(scene, Retry("busy", delay=7.5), delivered) == (Status.FAILED, True)
    ((_, _, copy),) = scene.ladder.sent
    assert (scene.delays_ms, copy.headers["x-attempt"], copy.headers["x-failure-text"]) == ([7500], 3, "busy")
    assert channel_of(delivered).settled == ["ack"]


async def test_retry_without_a_delay_follows_the_policy(scene: Scene) -> None:
    assert await settled(scene, Retry(), delivery()) == (Status.FAILED, True)
    assert 1 <= scene.delays_ms[0] <= 5000


async def test_retry_at_the_last_attempt_is_a_dead_letter(scene: Scene) -> None:
    assert await settled(scene, Retry("busy", delay=1), delivery(headers={"x-attempt": 3})) == (Status.FAILED, True)
    assert (scene.ladder.sent, scene.broker.reasons()) == ([], ["failed"])


async def test_where_the_broker_delays_retry_leaves_the_delay_to_it(linear: Scene) -> None:
    delivered = delivery()
    assert await settled(linear, Retry(delay=1), delivered) == (Status.FAILED, True)
    assert (channel_of(delivered).settled, linear.ladder.sent) == (["reject requeue=True"], [])


async def test_reject_is_a_dead_letter_at_the_first_attempt(scene: Scene) -> None:
    delivered = delivery()
    assert await settled(scene, Reject("no such user"), delivered) == (Status.REJECTED, True)
    ((_, _, letter),) = scene.broker.sent
    assert (letter.headers["x-failure-reason"], letter.headers["x-failure-text"]) == ("rejected", "no such user")
    assert (scene.ladder.sent, channel_of(delivered).settled) == ([], ["ack"])


@pytest.mark.parametrize(("asked", "delay_ms"), [(0, 1000), (20, 20_000)])
async def test_requeue_returns_the_message_through_a_delay_queue_and_uses_no_attempt(
    scene: Scene, asked: float, delay_ms: int
) -> None:
    delivered = delivery(headers={"x-attempt": 3, "x-suspect": "recorded", "a": 1}, redelivered=False)
    assert await settled(scene, Requeue("busy", delay=asked), delivered) == (Status.REQUEUED, True)
    ((_, queue, copy),) = scene.ladder.sent
    assert (queue, copy.headers["x-attempt"], copy.headers["a"], scene.delays_ms) == ("q", 3, 1, [delay_ms])
    assert not {"x-suspect", "x-first-failure-at"} & copy.headers.keys()
    assert (channel_of(delivered).settled, scene.broker.sent) == (["ack"], [])
    assert asyncio.get_running_loop().time() < 1, "no slot waits"


@pytest.mark.parametrize(("asked", "held"), [(0, 1), (20, 20), (3600, 30)])
async def test_where_no_delay_queue_may_be_used_requeue_holds_the_message_and_returns_a_copy(
    linear: Scene, asked: float, held: float
) -> None:
    delivered = delivery(headers={"x-attempt": 2})
    assert await settled(linear, Requeue(delay=asked), delivered) == (Status.REQUEUED, True)
    ((exchange, queue, copy),) = linear.broker.sent
    assert (exchange, queue, copy.headers["x-attempt"], copy.expiration) == ("", "q", 2, None)
    assert asyncio.get_running_loop().time() == pytest.approx(held)
    assert channel_of(delivered).settled == ["ack"]


@pytest.mark.parametrize(("waited", "held"), [(12, 18), (29.5, 1), (300, 1)])
async def test_a_message_that_has_waited_for_its_slot_is_not_held_beyond_its_consumer_timeout(
    linear: Scene, waited: float, held: float
) -> None:
    outcome = Outcome(Status.REQUEUED, Failure.of(Requeue(delay=60)))
    assert await linear.settlement.settle(delivery(), outcome, waited_seconds=waited)
    assert asyncio.get_running_loop().time() == pytest.approx(held)


async def test_a_delay_queue_that_fails_is_no_expiration_of_the_copy(scene: Scene) -> None:
    scene.ladder.fault = PublishFailedError("access refused")
    assert await settled(scene, Requeue(delay=5), delivery()) == (Status.REQUEUED, True)
    ((_, queue, copy),) = scene.broker.sent
    assert (queue, copy.expiration) == ("q", None)


async def test_a_worker_that_stops_returns_at_once_what_it_holds(linear: Scene) -> None:
    delivered = delivery()
    settling = asyncio.ensure_future(settled(linear, Requeue(delay=20), delivered))
    await asyncio.sleep(3)
    linear.settlement.stopping.set()
    assert await settling == (Status.REQUEUED, True)
    assert asyncio.get_running_loop().time() == 3


async def test_the_broker_requeues_what_cannot_be_copied(linear: Scene) -> None:
    linear.broker.fault = PublishFailedError("access refused")
    delivered = delivery()
    assert await settled(linear, Requeue(), delivered) == (Status.REQUEUED, True)
    assert channel_of(delivered).settled == ["nack requeue=True"]


async def test_requeue_stores_no_copy_of_a_message_whose_channel_is_lost(scene: Scene) -> None:
    delivered = delivery()
    channel_of(delivered).is_closed = True
    assert await settled(scene, Requeue(), delivered) == (Status.REQUEUED, False)
    assert (scene.ladder.sent, scene.broker.sent) == ([], [])


@pytest.mark.parametrize("delay", [-1, 32_769, float("nan"), float("inf"), "5", None])
def test_a_delay_out_of_range_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay=") as refused:
        Requeue(delay=delay)
    if delay == -1:
        assert_approved("worker.outcome_delay", str(refused.value))


def test_an_outcome_survives_the_way_out_of_a_child_process() -> None:
    for outcome in (Retry("busy", delay=3), Requeue("busy", delay=3), Reject("no such user")):
        copy = pickle.loads(pickle.dumps(outcome))  # noqa: S301 - our own bytes
        assert (type(copy), str(copy), vars(copy)) == (type(outcome), str(outcome), vars(outcome))
