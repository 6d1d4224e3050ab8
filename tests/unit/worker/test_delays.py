"""Delayed tasks of a publisher: their queue is checked first, in virtual time."""

import asyncio

import pytest
from aio_pika import Message
from typing_extensions import override

from taskqueue_worker.bounds import DECLARED_SECONDS
from taskqueue_worker.publishing.delays import Delays
from taskqueue_worker.publishing.errors import UnroutableError
from tests.unit.worker.test_ladder import RecordingPublisher

pytestmark = pytest.mark.looptime


class CheckedPublisher(RecordingPublisher):
    """Has the queues that are named."""

    def __init__(self, *queues: str) -> None:
        super().__init__()
        self.queues = set(queues)
        self.checks: list[str] = []

    async def require(self, queue: str, exchange: str) -> None:
        self.checks.append(queue)
        assert exchange == "taskqueue.return"
        if queue not in self.queues:
            raise UnroutableError(queue)

    @override
    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        assert self.checks
        await super().send(message, exchange, routing_key)


async def test_a_queue_is_checked_before_its_first_task_and_once_an_hour() -> None:
    publisher = CheckedPublisher("jobs", "mails")
    delays = Delays(publisher)
    for queue in ("jobs", "jobs", "mails"):
        await delays.delay(Message(b""), queue, 1)
    assert publisher.checks == ["jobs", "mails"]
    await asyncio.sleep(DECLARED_SECONDS)
    await delays.delay(Message(b""), "jobs", 1)
    assert publisher.checks == ["jobs", "mails", "jobs"]


async def test_nothing_is_stored_for_a_queue_that_does_not_exist_and_it_is_checked_again() -> None:
    publisher = CheckedPublisher()
    delays = Delays(publisher)
    for _ in range(2):
        with pytest.raises(UnroutableError):
            await delays.delay(Message(b""), "jobs", 1)
    assert (publisher.sent, publisher.declared, len(publisher.checks)) == ([], [], 2)
