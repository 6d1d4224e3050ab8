"""A lifespan surrounds the tasks of a worker; without it, the worker consumes nothing."""

from taskqueue_worker.bounds import LIFESPAN_EXIT_CODE
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.gate import Gate

MODULES = "ledger_tasks,lifespan_tasks"


async def test_a_lifespan_begins_before_the_first_task_and_ends_after_the_last(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, modules=MODULES)
    await worker.wait_for_ledger("started 1")
    worker.terminate()
    await worker.wait_for_log(event="leaving")
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["lifespan begins", "started 1", "finished 1 draining=True", "lifespan ends"]


async def test_a_worker_whose_lifespan_fails_consumes_nothing_and_says_why(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish(n=1)
    worker = start_worker(queues=queue.name, modules=MODULES, LIFESPAN="fails")
    assert await worker.exit_code() == LIFESPAN_EXIT_CODE
    (line,) = worker.lines(event="lifespan not begun")
    assert "ConnectionRefusedError: no database" in line["exception"]
    assert (worker.ledger, worker.lines(event="consuming")) == (["lifespan begins"], [])
    await queue.wait_for_ready(1)


async def test_a_worker_leaves_at_once_while_its_lifespan_begins(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    worker = start_worker(queues=queue.name, modules=MODULES, LIFESPAN="waits")
    await worker.wait_for_ledger("lifespan begins")
    assert worker.get("/healthz")[0] == 200
    assert not worker.is_ready
    worker.terminate()
    assert await worker.exit_code() == 0
    assert not worker.lines(event="consuming")
