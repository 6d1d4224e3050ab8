"""Dead letters: stored before the message goes, whatever the dead-letter queue does; in virtual time."""

import asyncio

import pytest
from structlog.testing import capture_logs

from taskqueue_worker.dead_letter_target import DeadLetterTarget
from taskqueue_worker.dead_letters import Problem
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.publish_errors import PublishFailedError
from taskqueue_worker.settlement import Settlement
from tests.unit.worker.messages import FakeBroker, channel_of, delivery

pytestmark = pytest.mark.looptime
PROBLEM = Problem("failed", "LookupError", "no such image")


class Scene:
    def __init__(self, target: DeadLetterTarget) -> None:
        self.broker = FakeBroker()
        self.metrics = Metrics("ns/name", "1", ["t"])
        self.state_changed = asyncio.Event()
        self.settlement = Settlement(self.broker.send, target, self.metrics, self.state_changed)

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
