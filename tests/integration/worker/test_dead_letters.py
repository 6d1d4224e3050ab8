"""What a worker cannot do leaves its queue only into the dead-letter queue."""

import aio_pika

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually


async def test_a_dead_letter_says_what_went_wrong_and_where_the_message_came_from(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    exchange = await queue.channel.declare_exchange(f"{queue.name}.x", "fanout", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange)
    message = aio_pika.Message(
        b'{"n": 7}', type="fail", message_id="id-7", headers={"tenant": "acme", "CC": [f"{queue.name}.elsewhere"]}
    )
    await exchange.publish(message, "images")
    worker = start_worker(queues=queue.name)
    letter = await queue.get(queue.dead_letters)
    assert letter.message_id == "id-7"
    expected = {
        "tenant": "acme",
        "x-failure-reason": "failed",
        "x-failure-class": "LookupError",
        "x-failure-text": "no such image: 7",
        "x-attempt": 1,
        "x-original-exchange": exchange.name,
        "x-original-routing-key": "images",
        "x-original-queue": queue.name,
    }
    assert expected.items() <= letter.headers.items()
    assert letter.headers["x-first-failure-at"] == letter.headers["x-last-failure-at"]
    assert letter.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    series = f'taskqueue_worker_dead_letters_total{{queue="{queue.name}",reason="failed"}}'
    await eventually("counted", lambda: f"{series} 1.0" in worker.get("/metrics")[1])
    await exchange.delete()


async def test_without_a_dead_letter_queue_nothing_is_dropped_and_a_stopping_worker_gives_everything_back(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.channel.queue_delete(queue.dead_letters)
    for n in (1, 2, 3):
        await queue.publish("no.such.task", n=n)
    first = start_worker(queues=queue.name)
    (line, *_) = await first.wait_for_log(event="dead letter not stored", times=2)
    assert line["routing_key"] == queue.dead_letters
    assert "has no queue" in line["reason"]
    assert first.metric("taskqueue_worker_dead_letters_blocked") == 1
    first.terminate()
    assert await first.exit_code() == 0
    await queue.wait_for_ready(3)

    second = start_worker(queues=queue.name)
    await second.wait_for_log(event="dead letter not stored")
    await queue.channel.declare_queue(queue.dead_letters, durable=True)
    await queue.wait_for_ready(3, queue.dead_letters)
    letters = [await queue.get(queue.dead_letters) for _ in range(3)]
    assert {letter.message_id for letter in letters} == {"id-1", "id-2", "id-3"}
    assert {letter.headers["x-failure-reason"] for letter in letters} == {"unknown_type"}
    assert second.metric("taskqueue_worker_dead_letters_blocked") == 0


async def test_dead_letters_that_their_queue_refuses_wait_in_the_worker(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    full = f"{queue.name}.full"
    arguments: dict[str, aio_pika.abc.FieldValue] = {"x-max-length": 0, "x-overflow": "reject-publish"}
    await queue.channel.declare_queue(full, durable=True, arguments=arguments)
    await queue.publish("fail", n=1)
    worker = start_worker(queues=queue.name, dead_letter_routing_key=full)
    (line, *_) = await worker.wait_for_log(event="dead letter not stored")
    assert "refused" in line["reason"]
    worker.kill()
    await queue.wait_for_ready(1)
    await queue.channel.queue_delete(full)


async def test_tasks_that_fail_one_after_the_other_are_slowed_down_until_one_is_done(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    for n in range(30):
        await queue.publish("fail", n=n)
    worker = start_worker(queues=queue.name)
    (line,) = await worker.wait_for_log(event="brake engaged")
    assert line["consecutive_failures"] < 30
    assert worker.metric("taskqueue_worker_braked") == 1
    assert await queue.ready() > 0, "the others wait in the queue"
    await (await queue.channel.get_queue(queue.name)).purge()
    await queue.publish(n=99)
    await worker.wait_for_log(event="brake released")
    assert worker.metric("taskqueue_worker_braked") == 0
