"""Delayed messages: their marker first, and what is declared when; in virtual time."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from aio_pika import Message

from taskqueue_worker.bounds import DECLARED_SECONDS, DELAYED_EXPIRES_SECONDS, LONGEST_DELAY_SECONDS
from taskqueue_worker.publishing.delay_queues import delay_arguments, marker_ms
from taskqueue_worker.publishing.errors import PublishFailedError, UnroutableError
from taskqueue_worker.publishing.ladder import Ladder

pytestmark = pytest.mark.looptime


class RecordingPublisher:
    """Records what is declared and published; `fault` is raised by the next publish to the named target."""

    def __init__(self) -> None:
        self.declared: list[str] = []
        self.arguments: dict[str, Mapping[str, Any]] = {}
        self.sent: list[tuple[str, str, Message]] = []
        self.faults: dict[str, PublishFailedError] = {}

    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        if fault := self.faults.pop(exchange or routing_key, None):
            raise fault
        self.sent.append((exchange, routing_key, message))

    async def declare(self, queue: str, arguments: Mapping[str, Any], *, exchange: str | None = None) -> None:
        assert exchange in {None, queue}
        self.declared.append(queue)
        self.arguments[queue] = arguments


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


def targets(publisher: RecordingPublisher) -> list[tuple[str, str]]:
    return [(exchange, key) for exchange, key, _ in publisher.sent]


async def test_the_marker_is_stored_before_the_message_and_lives_longer(publisher: RecordingPublisher) -> None:
    await Ladder(publisher).delay(Message(b"task"), "jobs", 2500)
    assert publisher.declared == ["taskqueue.delay.4s", "taskqueue.delayed.jobs"]
    assert publisher.arguments["taskqueue.delay.4s"] == delay_arguments(4)
    assert targets(publisher) == [("", "taskqueue.delayed.jobs"), ("taskqueue.delay.4s", "jobs")]
    marker, message = (sent for _, _, sent in publisher.sent)
    assert (marker.body, marker.expiration) == (b"", timedelta(seconds=34))
    assert (message.body, message.expiration) == (b"task", timedelta(seconds=2.5))


async def test_queues_are_declared_once_an_hour(publisher: RecordingPublisher) -> None:
    ladder = Ladder(publisher)
    for _ in range(3):
        await ladder.delay(Message(b""), "jobs", 1)
    assert len(publisher.declared) == 2
    await asyncio.sleep(DECLARED_SECONDS)
    await ladder.delay(Message(b""), "jobs", 1)
    assert len(publisher.declared) == 4


@pytest.mark.parametrize("missing", ["taskqueue.delay.1s", "taskqueue.delayed.jobs"])
async def test_a_queue_that_was_deleted_is_declared_again_at_the_next_try(
    publisher: RecordingPublisher, missing: str
) -> None:
    ladder = Ladder(publisher)
    await ladder.delay(Message(b""), "jobs", 1)
    publisher.faults[missing] = UnroutableError("no queue")
    with pytest.raises(UnroutableError):
        await ladder.delay(Message(b""), "jobs", 1)
    publisher.declared.clear()
    await ladder.delay(Message(b""), "jobs", 1)
    assert missing in publisher.declared


async def test_a_message_without_a_marker_is_not_delayed(publisher: RecordingPublisher) -> None:
    publisher.faults["taskqueue.delayed.jobs"] = PublishFailedError("refused")
    with pytest.raises(PublishFailedError):
        await Ladder(publisher).delay(Message(b""), "jobs", 1)
    assert targets(publisher) == []


def test_no_queue_of_markers_expires_before_its_last_marker() -> None:
    assert DECLARED_SECONDS + marker_ms(LONGEST_DELAY_SECONDS) / 1000 < DELAYED_EXPIRES_SECONDS
