"""What publishing promises."""

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
from tests.integration.worker.running import Work, environment


@pytest.fixture
async def publisher(broker: Broker) -> AsyncIterator[Publisher]:
    async with Publisher(broker.url, timeout_seconds=5) as publisher:
        yield publisher


async def test_a_message_is_persistent_and_says_what_it_is(publisher: Publisher, work: Work) -> None:
    message_id = await publisher.publish("", work.name, {"n": 1}, type="work", headers={"tenant": "acme"})
    message = await work.take(work.name)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    assert json.loads(message.body) == {"n": 1}
    assert (message.type, message.message_id) == ("work", message_id)
    assert message.headers["tenant"] == "acme"


async def test_bytes_go_as_they_are_and_a_given_id_is_kept(publisher: Publisher, work: Work) -> None:
    assert await publisher.publish("", work.name, b"\x89PNG", type="kind", message_id="mine") == "mine"
    message = await work.take(work.name)
    assert (message.body, message.content_type) == (b"\x89PNG", "application/octet-stream")


async def test_many_at_once_are_all_confirmed(publisher: Publisher, work: Work) -> None:
    ids = await asyncio.gather(*(publisher.publish("", work.name, n, type="work") for n in range(500)))
    assert len(set(ids)) == 500
    await work.has_ready(500)


async def test_a_message_that_no_queue_takes_is_an_error_and_the_next_goes_through(
    publisher: Publisher, work: Work
) -> None:
    with pytest.raises(UnroutableError, match=r"exchange 'amq\.direct' has no queue for routing key 'nowhere'"):
        await publisher.publish("amq.direct", "nowhere", {}, type="work")
    await publisher.publish("", work.name, {}, type="work")


async def test_a_missing_exchange_is_an_error_and_the_next_goes_through(publisher: Publisher, work: Work) -> None:
    with pytest.raises(PublishFailedError, match="no exchange 'nono'"):
        await publisher.publish("nono", "k", {}, type="work")
    await publisher.publish("", work.name, {}, type="work")


async def test_a_queue_that_refuses_is_an_error(publisher: Publisher, work: Work) -> None:
    full = f"{work.name}.full"
    await work.channel.declare_queue(
        full, durable=True, arguments={"x-queue-type": "classic", "x-max-length": 0, "x-overflow": "reject-publish"}
    )
    with pytest.raises(PublishFailedError, match="refused the message"):
        await publisher.publish("", full, {}, type="work")
    await work.channel.queue_delete(full)


async def test_a_lost_connection_is_opened_again_by_the_next_publish(
    broker: Broker, publisher: Publisher, work: Work
) -> None:
    await publisher.publish("", work.name, 1, type="work")
    await asyncio.to_thread(broker.ctl, "close_all_connections", "cut")
    async with asyncio.timeout(20):
        while True:
            try:
                await publisher.publish("", work.name, 2, type="work", message_id="again")
                break
            except PublishFailedError:
                await asyncio.sleep(0.05)


async def test_a_broker_that_does_not_answer_is_an_error_in_time(broker: Broker, work: Work) -> None:
    async with Publisher(broker.url, timeout_seconds=1) as publisher:
        broker.pause()
        try:
            with pytest.raises(PublishFailedError, match="did not confirm within 1 s"):
                await publisher.publish("", work.name, {}, type="work")
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


async def test_the_command_publishes_what_a_worker_then_does(
    broker: Broker, start: StartWorker, work: Work, tmp_path: Path
) -> None:
    exchange = await work.channel.declare_exchange(work.name, "direct", durable=True)
    await (await work.channel.get_queue(work.name)).bind(exchange, work.name)
    command = ("publish", "--exchange", work.name, "--type", "work", '{"n": 9}')
    code, message_id, errors = await run(tmp_path, *command, RABBITMQ_URL=broker.url)
    assert (code, errors) == (0, "")
    worker = start(queues=work.name)
    (line,) = await worker.logged(event="task", status="done")
    assert line["task_id"] == message_id
    await exchange.delete()


async def test_the_command_says_when_no_queue_takes_the_message(broker: Broker, tmp_path: Path) -> None:
    command = ("publish", "--exchange", "amq.direct", "--routing-key", "nowhere", "--type", "work", "{}")
    code, output, errors = await run(tmp_path, *command, RABBITMQ_URL=broker.url)
    assert (code, output) == (1, "")
    assert errors == (
        "Not published: exchange 'amq.direct' has no queue for routing key 'nowhere'. Check the key, or bind a queue."
    )


async def test_the_command_says_when_there_is_no_broker(tmp_path: Path) -> None:
    command = ("publish", "--exchange", "amq.direct", "--type", "work", "{}")
    code, _, errors = await run(tmp_path, *command, RABBITMQ_URL="amqp://guest:verysecret@127.0.0.1:1/")
    assert code == 1
    assert errors == "Not connected: [Errno 111] Connect call failed ('127.0.0.1', 1)"
