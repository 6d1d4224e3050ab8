"""Tasks that any client publishes, with properties or with a JSON envelope (docs/envelope.md)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aio_pika
import pytest

from taskqueue_worker import Publisher
from taskqueue_worker.envelope.json_envelope import CONTENT_TYPE
from tests.cluster.broker import Broker
from tests.integration.adapters.running_application import packages
from tests.integration.conformance.running_kit import node_command
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.page_examples import example, run
from tests.integration.worker.retry_path import declare_retry_path

ENVELOPE = {"id": "e-1", "type": "fail.always", "data": {"n": 7}, "metadata": {"retry_count": 1}}


@pytest.fixture
async def exchange(queue: DeclaredQueue) -> AsyncIterator[str]:
    """An exchange with the name of the queue, as the operator declares it."""
    declared = await queue.channel.declare_exchange(queue.name, durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(declared, queue.name)
    yield queue.name
    await declared.delete()


async def test_a_worker_runs_what_clients_in_any_language_publish(
    broker: Broker, start_worker: StartWorker, exchange: str
) -> None:
    def code(before: str) -> str:
        return example("envelope.md", before, exchange=exchange)

    url = {"RABBITMQ_URL": broker.url}
    management = {"RABBITMQ_USER": "guest:guest", "RABBITMQ_MANAGEMENT_URL": broker.management_url}
    await asyncio.gather(
        run(sys.executable, "-c", code("pika, with the envelope"), PYTHONPATH=str(packages("pika-1.4")), **url),
        run(sys.executable, "-c", code("aio-pika, with properties"), **url),
        run(*await asyncio.to_thread(node_command, "-e", code("Node.js with amqplib")), **url),
        run("sh", "-c", code("The management API"), **management),
    )
    worker = start_worker(queues=exchange, modules="publishing_tasks", concurrency="4")
    await worker.wait_for_log(event="task", status="done", times=4)
    done = dict(entry.split() for entry in worker.ledger)
    assert done.keys() == {"1", "2", "3", "4"}
    assert done["4"] == "by-hand-4"
    assert all(task_id != "None" for task_id in done.values())


async def test_the_envelope_of_a_publisher_reaches_the_handler(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    async with Publisher(broker.url) as publisher:
        message_id = await publisher.publish("", queue.name, {"n": 1}, type="image.thumbnail", envelope="json")
    worker = start_worker(queues=queue.name, modules="publishing_tasks")
    await worker.wait_for_ledger(f"1 {message_id}")


async def publish(queue: DeclaredQueue, body: bytes, **properties: Any) -> None:  # noqa: ANN401 - of every type
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
    await queue.channel.default_exchange.publish(message, queue.name)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_attempts_go_on_from_the_retry_count_and_copies_have_the_published_body(
    start_worker: StartWorker, declare_queue: DeclareQueue, kind: str
) -> None:
    queue = await declare_queue(kind)
    await declare_retry_path(queue)
    body = json.dumps(ENVELOPE).encode()
    await publish(queue, body)
    worker = start_worker(
        queues=queue.name,
        modules="publishing_tasks",
        max_attempts="3",
        retry_initial_seconds="1",
        retry_max_seconds="1",
    )
    letter = await queue.get(queue.dead_letters)
    failed = await worker.wait_for_log(times=2, event="task", status="failed")
    assert [(line["task_id"], line["attempt"]) for line in failed] == [("e-1", 2), ("e-1", 3)]
    assert (letter.body, letter.headers["x-attempt"]) == (body, 3)
    assert (letter.type, letter.message_id, letter.content_type) == ("fail.always", "e-1", CONTENT_TYPE)


HOSTILE: Mapping[str, tuple[bytes, Mapping[str, Any]]] = {
    "no JSON": (b"{", {"content_type": CONTENT_TYPE}),
    "no object": (b"[]", {"content_type": CONTENT_TYPE, "type": "image.thumbnail"}),
    "no data": (b'{"id": "1", "type": "t"}', {"content_type": CONTENT_TYPE}),
    "a version that is none": (b'{"id": "1", "type": "image.thumbnail", "data": {}, "version": -1}', {}),
    "metadata that is none": (b'{"id": "1", "type": "image.thumbnail", "data": {}, "metadata": "x"}', {}),
    "nested without end": (b'{"id": "1", "type": "t", "data": ' + b"[" * 500_000, {"content_type": CONTENT_TYPE}),
    "an expiry that is none": (b'{"n": 1}', {"type": "image.thumbnail", "headers": {"x-expires-at": "soon"}}),
}


async def test_envelopes_that_are_not_valid_are_dead_lettered_and_others_are_done(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    for body, properties in HOSTILE.values():
        await publish(queue, body, **properties)
    await publish(queue, b'{"id": "last", "type": "image.thumbnail", "data": {"n": 9}}')
    worker = start_worker(queues=queue.name, modules="publishing_tasks")
    await worker.wait_for_ledger("9 last")
    await queue.wait_for_ready(len(HOSTILE), queue.dead_letters)
    for body, _ in HOSTILE.values():
        letter = await queue.get(queue.dead_letters)
        assert (letter.body, letter.headers["x-failure-reason"]) == (body, "invalid_payload")
