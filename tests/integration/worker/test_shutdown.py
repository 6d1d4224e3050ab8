"""Shutdown of a worker process by SIGTERM."""

import pytest

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_prefetched_messages_are_requeued_at_once_while_the_running_task_finishes(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    for n in range(16):
        await queue.publish(n=n, gate=str(gate))
    worker = start_worker(queues=queue.name, prefetch="16")
    await worker.wait_for_ledger("started 0")
    await eventually("15 prefetched", lambda: worker.metric("taskqueue_worker_prefetched") == 15)
    worker.terminate()
    await queue.wait_for_ready(15)
    assert worker.ledger == ["started 0"], "the task still runs after the others are requeued"
    assert worker.get("/readyz")[0] == 503
    assert worker.get("/healthz")[0] == 200
    assert worker.metric("taskqueue_worker_draining") == 1
    assert worker.metric("taskqueue_worker_consuming") == 0
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 0", "finished 0 draining=True"]

    successor = start_worker(queues=queue.name)
    await successor.wait_for_log(event="task", status="done", times=15)
    assert sorted(successor.started) == sorted(f"started {n}" for n in range(16))
    attempts = {line["attempt"] for line in successor.lines(event="task")}
    assert attempts == {1 if kind == "quorum" else 2}, "a classic queue cannot tell that no attempt began"
    assert await queue.ready(queue.dead_letters) == 0


async def test_an_idle_worker_exits_at_once(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    worker = start_worker(queues=queue.name)
    await worker.wait_for_log(event="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_the_second_sigterm_cancels_and_requeues_running_tasks(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("started 1")
    worker.terminate()
    await worker.wait_for_log(event="stopped consuming")
    assert await queue.ready() == 0
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert worker.lines(event="task", status="requeued", settled=True)
    await queue.wait_for_ready(1)
    assert await queue.ready(queue.dead_letters) == 0


async def test_a_task_that_exceeds_its_timeout_during_shutdown_is_settled_before_the_worker_exits(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    """The grace period is longer than the task timeout, so no task is killed."""
    await queue.publish(n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, task_timeout_seconds="3")
    await worker.wait_for_ledger("started 1")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert worker.lines(event="task", status="timeout", settled=True)
    assert (await queue.get(queue.dead_letters)).message_id == "id-1"
    assert await queue.ready() == 0


async def test_the_message_of_a_thread_that_does_not_stop_is_requeued_when_the_process_ends(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish("block", n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, modules="short_periods,ledger_tasks")
    await worker.wait_for_ledger("started 1")
    worker.terminate()
    await worker.wait_for_log(event="stopped consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.lines(event="task", status="abandoned", settled=False)
    await queue.wait_for_ready(1)


async def test_a_worker_without_a_broker_exits_at_sigterm(start_worker: StartWorker) -> None:
    worker = start_worker(RABBITMQ_URL="amqp://guest:guest@127.0.0.1:1/", queues="q")
    await worker.wait_for_log(event="not connected")
    await worker.wait_for_log(event="listening")
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/readyz")[0] == 503
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_sigterm_during_import_ends_the_worker(start_worker: StartWorker) -> None:
    worker = start_worker(queues="q", modules="slow_import")
    await worker.wait_for_ledger("importing")
    worker.terminate()
    assert await worker.exit_code() == 0
