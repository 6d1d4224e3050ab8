"""What happens to a task that fails, with the runtimes on asyncio."""

import aio_pika
import pytest

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import AIO_PIKA, FASTSTREAM, TASKIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator


@pytest.mark.parametrize("runtime", [AIO_PIKA, TASKIQ, FASTSTREAM], ids=str)
async def test_a_task_that_fails_is_dead_lettered_and_the_worker_goes_on(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue
) -> None:
    worker = start(runtime)
    await send(queue, runtime, n=1, fails=True)
    await send(queue, runtime, n=2)
    await worker.wait_for_ledger("finished 2")
    await queue.wait_for_ready(1, queue.dead_letters)
    assert worker.ledger.count("started 1") == 1


async def test_a_consumer_by_hand_leaves_retries_of_type_linear_to_the_broker(
    start: StartApplication, queue: DeclaredQueue
) -> None:
    worker = start(AIO_PIKA, TASKQUEUE_RETRY_TYPE="Linear", TASKQUEUE_MAX_ATTEMPTS="3")
    await send(queue, AIO_PIKA, n=1, fails=True)
    await queue.wait_for_ready(1, queue.dead_letters)
    assert worker.ledger == ["started 1"] * 3


async def test_taskiq_retries_a_task_and_dead_letters_it_after_its_last_attempt(
    start: StartApplication, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(TASKIQ)
    await operator.wait_for_report(state="consuming")
    declared = await queue.channel.get_queue(queue.name)
    await declared.bind(queue.name, queue.name)
    await send(queue, TASKIQ, n=1, fails=True, labels={"retry_on_error": True, "max_retries": 2})
    await queue.wait_for_ready(1, queue.dead_letters)

    async def both_attempts_are_counted() -> bool:
        report = await operator.done("report")
        return (report["completed"], report["failed"]) == (1, 1)

    await eventually("both attempts are counted", both_attempts_are_counted)
    assert worker.ledger == ["started 1"] * 2, "the first attempt is acknowledged, because taskiq sent the task again"


async def test_a_task_of_taskiq_that_is_done_is_acknowledged_also_if_a_middleware_raises_then(
    start: StartApplication, queue: DeclaredQueue
) -> None:
    worker = start(TASKIQ, RAISES_AFTER_TASKS="1", PREFETCH="1")
    for n in (1, 2):
        await send(queue, TASKIQ, n=n)
    await worker.wait_for_ledger("finished 1", "finished 2")  # with a prefetch of 1, the second follows the settlement
    assert await queue.ready(queue.dead_letters) == 0


async def test_a_message_that_taskiq_cannot_run_is_dead_lettered(start: StartApplication, queue: DeclaredQueue) -> None:
    worker = start(TASKIQ)
    for body in (b"{", b'{"task_id": "1", "task_name": "unknown", "labels": {}, "args": [], "kwargs": {}}'):
        await queue.channel.default_exchange.publish(aio_pika.Message(body), queue.name)
    await queue.wait_for_ready(2, queue.dead_letters)
    await send(queue, TASKIQ, n=1)
    await worker.wait_for_ledger("finished 1")


async def test_taskiq_may_declare_a_queue_that_is_external_to_the_operator(
    start: StartApplication, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    name = f"{queue.name}-external"
    worker = start(TASKIQ, QUEUE=name, DECLARES="1")
    await operator.wait_for_report(state="consuming")
    external = DeclaredQueue(queue.channel, name)
    await send(external, TASKIQ, n=1, fails=True)
    await external.wait_for_ready(1, external.dead_letters)
    await operator.done("drain")
    await operator.wait_for_report(state="drained")
    assert worker.ledger == ["started 1"]
    await queue.channel.queue_delete(name)
