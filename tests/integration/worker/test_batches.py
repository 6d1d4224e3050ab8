"""A handler takes several messages at once; each message is settled on its own."""

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate
from tests.integration.worker.retry_path import declare_retry_path

MODULES = "batch_tasks"


async def test_each_message_of_a_batch_has_its_own_outcome(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    await declare_retry_path(queue)
    worker = start_worker(
        queues=queue.name, concurrency="5", modules=MODULES, retry_initial_seconds="1", max_attempts="2"
    )
    await worker.wait_for_log(event="consuming")
    for n in ("done", "retry", "reject", "requeue", "error"):
        await queue.publish("outcomes", n=n)
    letter = await queue.get(queue.dead_letters)
    assert (letter.message_id, letter.headers["x-failure-reason"]) == ("id-reject", "rejected")
    lines = {
        line["task_id"]: line["attempt"] for line in await worker.wait_for_log(times=4, event="task", status="done")
    }
    assert lines == {"id-done": 1, "id-retry": 2, "id-requeue": 1, "id-error": 2}
    assert worker.started[0] == "started done error reject requeue retry"
    await queue.wait_for_ready(0)
    assert await queue.ready(queue.dead_letters) == 0


async def test_at_sigterm_half_a_batch_runs_at_once(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    worker = start_worker(queues=queue.name, concurrency="5", modules=MODULES)
    for n in range(4):
        await queue.publish("thread", n=n)
    await eventually("two full batches", lambda: len(worker.started) == 2)
    for n in (4, 5, 6):
        await queue.publish("batch.slow", n=n)
    await eventually("they wait", lambda: worker.metric("taskqueue_worker_in_flight") == 3)
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger[2:] == ["started 4 5 6", "finished 4 5 6"]
    assert len(worker.lines(event="task", status="done", settled=True)) == 7
    assert await queue.ready() == 0


async def test_the_messages_of_a_batch_that_was_killed_run_one_by_one(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    variables = {"queues": queue.name, "concurrency": "5", "modules": MODULES}
    first = start_worker(**variables)
    for n in range(4):
        await queue.publish("batch.slow", n=n, gate=str(gate))
    await first.wait_for_ledger("started 0 1 2 3")
    await queue.publish("batch.slow", n=4, gate=str(gate))
    await eventually("a fifth one waits", lambda: first.metric("taskqueue_worker_in_flight") == 5)
    first.kill()
    gate.open()
    second = start_worker(**variables)
    lines = await second.wait_for_log(event="task", status="done", settled=True, times=5)
    assert {line["attempt"] for line in lines} == {2}
    assert sorted(second.ledger[1:]) == sorted(f"{step} {n}" for step in ("started", "finished") for n in range(5))
    assert await queue.ready() == await queue.ready(queue.dead_letters) == 0
