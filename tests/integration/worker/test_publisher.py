"""The guarantees of the publisher."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest

from taskqueue_worker import Publisher, PublishFailedError, UnroutableError
from tests.cluster.broker import Broker
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.running_worker import environment


@pytest.fixture
async def publisher(broker: Broker) -> AsyncIterator[Publisher]:
    async with Publisher(broker.url, timeout_seconds=5) as publisher:
        yield publisher


async def test_a_published_message_is_persistent_and_has_type_id_and_headers(
    publisher: Publisher, queue: DeclaredQueue
) -> None:
    message_id = await publisher.publish("", queue.name, {"n": 1}, type="work", headers={"tenant": "acme"})
    message = await queue.get(queue.name)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    assert json.loads(message.body) == {"n": 1}
    assert (message.type, message.message_id) == ("work", message_id)
    assert message.headers["tenant"] == "acme"


async def test_bytes_are_published_unchanged_under_the_given_id(publisher: Publisher, queue: DeclaredQueue) -> None:
    assert await publisher.publish("", queue.name, b"\x89PNG", type="kind", message_id="mine") == "mine"
    message = await queue.get(queue.name)
    assert (message.body, message.content_type) == (b"\x89PNG", "application/octet-stream")


async def test_concurrent_publishes_are_all_confirmed(publisher: Publisher, queue: DeclaredQueue) -> None:
    ids = await asyncio.gather(*(publisher.publish("", queue.name, n, type="work") for n in range(500)))
    assert len(set(ids)) == 500
    await queue.wait_for_ready(500)


async def test_an_unroutable_message_is_an_error_and_the_next_one_is_published(
    publisher: Publisher, queue: DeclaredQueue
) -> None:
    with pytest.raises(UnroutableError, match=r"'amq\.direct'.*'nowhere'"):
        await publisher.publish("amq.direct", "nowhere", {}, type="work")
    await publisher.publish("", queue.name, {}, type="work")


async def test_a_missing_exchange_is_an_error_and_the_next_message_is_published(
    publisher: Publisher, queue: DeclaredQueue
) -> None:
    with pytest.raises(PublishFailedError, match="no exchange 'nono'"):
        await publisher.publish("nono", "k", {}, type="work")
    await publisher.publish("", queue.name, {}, type="work")


async def test_a_message_that_its_queue_refuses_is_an_error(publisher: Publisher, queue: DeclaredQueue) -> None:
    full = f"{queue.name}.full"
    await queue.channel.declare_queue(
        full, durable=True, arguments={"x-queue-type": "classic", "x-max-length": 0, "x-overflow": "reject-publish"}
    )
    with pytest.raises(PublishFailedError, match="refused"):
        await publisher.publish("", full, {}, type="work")
    await queue.channel.queue_delete(full)


async def test_the_next_publish_reopens_a_lost_connection(
    broker: Broker, publisher: Publisher, queue: DeclaredQueue
) -> None:
    await publisher.publish("", queue.name, 1, type="work")
    await asyncio.to_thread(broker.ctl, "close_all_connections", "cut")
    async with asyncio.timeout(20):
        while True:
            try:
                await publisher.publish("", queue.name, 2, type="work", message_id="again")
                break
            except PublishFailedError:
                await asyncio.sleep(0.05)


async def test_a_broker_that_does_not_answer_is_an_error_after_the_timeout(
    broker: Broker, queue: DeclaredQueue
) -> None:
    async with Publisher(broker.url, timeout_seconds=1) as publisher:
        broker.pause()
        try:
            with pytest.raises(PublishFailedError, match="within 1 s"):
                await publisher.publish("", queue.name, {}, type="work")
        finally:
            broker.resume()


async def run(directory: Path, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "taskqueue_worker", *arguments),
        env=environment(directory, **variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode().strip(), errors.decode().strip()


async def test_a_worker_runs_the_task_that_the_command_publishes(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path
) -> None:
    exchange = await queue.channel.declare_exchange(queue.name, "direct", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange, queue.name)
    command = ("publish", "--exchange", queue.name, "--type", "work", '{"n": 9}')
    code, message_id, errors = await run(tmp_path, *command, RABBITMQ_URL=broker.url)
    assert (code, errors) == (0, "")
    worker = start_worker(queues=queue.name)
    (line,) = await worker.wait_for_log(event="task", status="done")
    assert line["task_id"] == message_id
    await exchange.delete()


async def test_the_command_fails_for_an_unroutable_message(broker: Broker, tmp_path: Path) -> None:
    command = ("publish", "--exchange", "amq.direct", "--routing-key", "nowhere", "--type", "work", "{}")
    code, output, errors = await run(tmp_path, *command, RABBITMQ_URL=broker.url)
    assert (code, output) == (1, "")
    assert "'amq.direct'" in errors
    assert "'nowhere'" in errors


async def test_the_command_fails_without_a_broker(tmp_path: Path) -> None:
    command = ("publish", "--exchange", "amq.direct", "--type", "work", "{}")
    code, _, errors = await run(tmp_path, *command, RABBITMQ_URL="amqp://guest:verysecret@127.0.0.1:1/")
    assert code == 1
    assert "127.0.0.1" in errors
    assert "verysecret" not in errors
