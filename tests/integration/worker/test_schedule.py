"""Tasks that begin later, expire, or overtake others."""

import sys
from datetime import UTC, datetime, timedelta

import aio_pika
import httpx
import pytest

from taskqueue_worker import Publisher, UnroutableError
from taskqueue_worker.publishing.delay_queues import delay_queue, marker_queue
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.page_examples import example, run
from tests.integration.worker.retry_path import declare_retry_path
from tests.integration.worker.running_worker import SOURCE

TYPE = "image.thumbnail"
MODULES = {"modules": "publishing_tasks"}


@every_version
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_delayed_task_enters_its_queue_after_the_delay(
    broker: Broker, start_worker: StartWorker, declare_queue: DeclareQueue, kind: str
) -> None:
    queue = await declare_queue(kind)
    await declare_retry_path(queue)
    worker = start_worker(queues=queue.name, **MODULES)
    async with Publisher(broker.url) as publisher:
        not_before = datetime.now(UTC) + timedelta(seconds=2)
        await publisher.publish("", queue.name, {"n": 2}, type=TYPE, message_id="later", not_before=not_before)
        assert await queue.ready(marker_queue(queue.name)) == 1
        await publisher.publish("", queue.name, {"n": 1}, type=TYPE, message_id="now")
    (line,) = await worker.wait_for_log(event="task", task_id="later", status="done")
    assert datetime.fromisoformat(line["timestamp"]) >= not_before
    assert worker.ledger == ["1 now", "2 later"]
    assert line["attempt"] == 1


async def test_the_examples_of_the_page_publish_tasks(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await declare_retry_path(queue)
    exchange = await queue.channel.declare_exchange(queue.name, durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange, queue.name)
    environment = {"RABBITMQ_URL": broker.url, "PYTHONPATH": str(SOURCE)}
    for section in ("## Guarantees", "## Delay"):
        program = example("publishing.md", section, exchange=queue.name)
        await run(sys.executable, "-W", "error", "-c", program, **environment)
    worker = start_worker(queues=queue.name, **MODULES)
    await worker.wait_for_log(times=3, event="task", status="done")
    await exchange.delete()


async def test_a_delay_for_a_queue_that_does_not_exist_is_an_error(broker: Broker, queue: DeclaredQueue) -> None:
    await declare_retry_path(queue)
    async with Publisher(broker.url) as publisher:
        with pytest.raises(UnroutableError, match=f"no queue '{queue.name}.no'") as error:
            await publisher.publish("", f"{queue.name}.no", {}, type=TYPE, message_id="m", delay=1)
        assert error.value.message_id == "m"
        with pytest.raises(ValueError, match='exchange=""'):
            await publisher.publish(queue.name, queue.name, {}, type=TYPE, delay=1)
        await publisher.publish("", queue.name, {}, type=TYPE)


@every_version
async def test_the_documented_permissions_are_enough_for_a_delay(
    queue: DeclaredQueue, management: httpx.Client, user_url: str, taskqueue: str
) -> None:
    await declare_retry_path(queue)
    permissions = {
        "configure": rf"taskqueue\.(delay\..*|delayed\.{queue.name})",
        "write": r"taskqueue\.(delay\..*|return)|amq\.default",
        "read": r"taskqueue\.delay\..*",
    }
    exact = {right: f"^({pattern})$" for right, pattern in permissions.items()}
    api.put_permissions(management, taskqueue, "/", exact)
    async with Publisher(user_url) as publisher:
        await publisher.publish("", queue.name, {"n": 1}, type=TYPE, message_id="m", delay=0.1)
    assert (await queue.get(queue.name)).message_id == "m"


async def test_a_delay_queue_that_is_missing_is_declared_again(broker: Broker, queue: DeclaredQueue) -> None:
    await declare_retry_path(queue)
    async with Publisher(broker.url) as publisher:
        await publisher.publish("", queue.name, {}, type=TYPE, delay=2048)
        await queue.channel.queue_delete(delay_queue(2048))
        with pytest.raises(UnroutableError):
            await publisher.publish("", queue.name, {}, type=TYPE, delay=2048)
        await publisher.publish("", queue.name, {}, type=TYPE, delay=2048)
    assert await queue.ready(delay_queue(2048)) == 1
    await queue.channel.queue_delete(delay_queue(2048))


async def test_a_task_that_waits_until_it_expires_is_dead_lettered_by_the_broker(
    broker: Broker, queue: DeclaredQueue
) -> None:
    async with Publisher(broker.url) as publisher:
        await publisher.publish("", queue.name, {"n": 1}, type=TYPE, message_id="late", expires=0.2)
    letter = await queue.get(queue.dead_letters)
    assert letter.message_id == "late"
    assert letter.headers["x-first-death-reason"] == "expired"


async def test_a_task_that_expires_in_its_worker_does_not_run(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    # The broker keeps no time for it: it waited in a delay queue, or in a worker, when it expired.
    over = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for n, expires_at in ((1, over), (2, later)):
        message = aio_pika.Message(f'{{"n": {n}}}'.encode(), type=TYPE, headers={"x-expires-at": expires_at})
        await queue.channel.default_exchange.publish(message, queue.name)
    worker = start_worker(queues=queue.name, **MODULES)
    letter = await queue.get(queue.dead_letters)
    assert (letter.headers["x-failure-reason"], letter.body) == ("expired", b'{"n": 1}')
    await worker.wait_for_log(event="task", status="done")
    assert [entry.split()[0] for entry in worker.ledger] == ["2"]
    assert worker.metric(f'taskqueue_worker_dead_letters_total{{queue="{queue.name}",reason="expired"}}') == 1


@every_version
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_task_of_a_higher_priority_overtakes_others(
    broker: Broker, start_worker: StartWorker, declare_queue: DeclareQueue, kind: str, rabbitmq_version: str
) -> None:
    queue = await declare_queue(kind, {"x-max-priority": 10} if kind == "classic" else None)
    async with Publisher(broker.url) as publisher:
        for n, priority in ((1, 1), (2, 1), (3, 9)):
            await publisher.publish("", queue.name, {"n": n}, type=TYPE, message_id="m", priority=priority)
    await queue.wait_for_ready(3)
    worker = start_worker(queues=queue.name, **MODULES)
    await worker.wait_for_log(times=3, event="task", status="done")
    has_priorities = kind == "classic" or not rabbitmq_version.startswith("3.")
    assert (worker.ledger.index("3 m") < worker.ledger.index("2 m")) is has_priorities
