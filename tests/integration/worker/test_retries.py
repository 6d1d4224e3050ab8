"""Failed tasks return to their queue after a delay, and none is lost on the way."""

import asyncio
import re
from collections import Counter

import aio_pika
import httpx
import pytest

from taskqueue_operator.resource.names import PARKING
from taskqueue_worker.publishing.delay_queues import delay_queue, marker_queue
from taskqueue_worker.publishing.ladder import Ladder
from taskqueue_worker.publishing.publisher import Publisher
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.retry_path import declare_retry_path, purge_parking

RETRIES = {"max_attempts": "3", "retry_initial_seconds": "1", "retry_max_seconds": "2"}


@every_version
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_failing_task_is_tried_again_after_growing_delays_and_dead_lettered_after_its_attempts(
    start_worker: StartWorker, declare_queue: DeclareQueue, kind: str
) -> None:
    queue = await declare_queue(kind)
    await declare_retry_path(queue)
    exchange = await queue.channel.declare_exchange(f"{queue.name}.x", "fanout", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange)
    headers: dict[str, aio_pika.abc.FieldValue] = {"tenant": "acme", "CC": [f"{queue.name}.elsewhere"]}
    await exchange.publish(
        aio_pika.Message(b'{"n": 7}', type="fail", message_id="id-7", user_id="guest", headers=headers), "images"
    )
    worker = start_worker(queues=queue.name, **RETRIES)
    letter = await queue.get(queue.dead_letters)
    stored = await worker.wait_for_log(times=2, event="retry stored")
    delays = [(line["attempt"], line["delay_seconds"]) for line in stored]
    assert [attempt for attempt, _ in delays] == [2, 3]
    assert all(0 < delay <= longest for (_, delay), longest in zip(delays, (1, 2), strict=True))
    failed = await worker.wait_for_log(times=3, event="task", status="failed")  # after the dead letter is confirmed
    assert [line["attempt"] for line in failed] == [1, 2, 3]
    expected = {
        "tenant": "acme",
        "x-failure-reason": "failed",
        "x-failure-class": "LookupError",
        "x-failure-text": "no such image: 7",
        "x-attempt": 3,
        "x-original-exchange": exchange.name,
        "x-original-routing-key": "images",
        "x-original-queue": queue.name,
    }
    assert expected.items() <= letter.headers.items()
    assert str(letter.headers["x-first-failure-at"]) < str(letter.headers["x-last-failure-at"])
    assert letter.headers.keys() - expected.keys() == {"x-first-failure-at", "x-last-failure-at"}
    assert worker.metric(f'taskqueue_worker_retries_total{{queue="{queue.name}"}}') == 2
    assert await queue.ready(marker_queue(queue.name)) == 2, "markers outlive the retries that they count"
    await exchange.delete()


async def test_a_draining_worker_stores_the_retry_of_its_last_task_and_another_worker_runs_it(
    start_worker: StartWorker, queue: DeclaredQueue, management: httpx.Client, taskqueue: str, user_url: str
) -> None:
    """The first worker has the least permissions of docs/topology.md."""
    await declare_retry_path(queue)
    name = re.escape(queue.name)
    permissions = {
        "configure": rf"^taskqueue\.(delay\..*|delayed\.{name})$",
        "write": r"^(amq\.default|taskqueue\.(reports|return|delay\..*))$",
        "read": rf"^({name}|taskqueue\.delay\..*)$",
    }
    api.put_permissions(management, taskqueue, "/", permissions)
    await queue.publish("slow.fail", n=1)
    first = start_worker(queues=queue.name, RABBITMQ_URL=user_url, **RETRIES)
    await first.wait_for_ledger("started 1")
    first.terminate()
    assert await first.exit_code() == 0
    assert len(first.lines(event="retry stored", attempt=2)) == 1
    second = start_worker(queues=queue.name, **RETRIES)
    await second.wait_for_log(event="task", attempt=2)
    await queue.wait_for_ready(1, queue.dead_letters)


async def test_a_worker_that_dies_between_the_retry_and_the_acknowledgement_loses_no_task(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await declare_retry_path(queue)
    await queue.publish("fail", n=1)
    dying = start_worker(queues=queue.name, modules="ledger_tasks,dies_before_acknowledgement", **RETRIES)
    await eventually("died", lambda: dying.has_ended)
    worker = start_worker(queues=queue.name, **RETRIES)
    await queue.wait_for_ready(2, queue.dead_letters)
    letters = [await queue.get(queue.dead_letters) for _ in range(2)]
    assert {letter.message_id for letter in letters} == {"id-1"}, "at worst the task exists twice"
    assert not worker.lines(event="retry not stored")


async def test_a_task_whose_retry_cannot_be_stored_is_dead_lettered(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.channel.queue_delete(marker_queue(queue.name))
    await queue.channel.declare_queue(marker_queue(queue.name), durable=True)  # other arguments than a worker's
    await queue.publish("fail", n=1)
    worker = start_worker(queues=queue.name, **RETRIES)
    letter = await queue.get(queue.dead_letters)
    assert (letter.headers["x-attempt"], letter.headers["x-failure-reason"]) == (1, "failed")
    assert worker.lines(event="retry not stored")
    await queue.channel.queue_delete(marker_queue(queue.name))


async def test_retries_of_a_deleted_queue_are_parked_and_those_of_other_queues_return(
    broker: Broker, declare_queue: DeclareQueue
) -> None:
    deleted, other = await declare_queue(), await declare_queue()
    for queue in (deleted, other):
        await declare_retry_path(queue)
    await purge_parking(other)
    async with Publisher(broker.url) as publisher:
        ladder = Ladder(publisher)
        await ladder.delay(aio_pika.Message(b"", message_id="0"), deleted.name, 8000)
        later = (ladder.delay(aio_pika.Message(b"", message_id=f"{n}"), deleted.name, 8000) for n in range(1, 1000))
        await asyncio.gather(*later)
        await deleted.delete()
        await asyncio.gather(*(ladder.delay(aio_pika.Message(b""), other.name, 8000) for _ in range(100)))
    await other.wait_for_ready(100)
    await other.wait_for_ready(1000, PARKING)
    parked = Counter([(await other.get(PARKING)).message_id for _ in range(1000)])
    assert parked == Counter(map(str, range(1000)))
    assert await other.ready(delay_queue(8)) == 0
