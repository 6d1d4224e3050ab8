"""Tasks of real workers are done once and resume, with Redis and with PostgreSQL, whatever happens to a worker."""

from collections.abc import AsyncIterator

import pytest

from taskqueue_worker.results import ResultReader, State
from taskqueue_worker.stores import PostgresStore, RedisStore
from tests.cluster.store_server import PostgreSQL, Redis
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate
from tests.integration.worker.retry_path import declare_retry_path
from tests.integration.worker.running_worker import RunningWorker


@pytest.fixture(params=["redis", "postgres"])
def store_server(request: pytest.FixtureRequest) -> Redis | PostgreSQL:
    server: Redis | PostgreSQL = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
async def reader(store_server: Redis | PostgreSQL) -> AsyncIterator[ResultReader]:
    url = store_server.url
    store = RedisStore(url) if isinstance(store_server, Redis) else PostgresStore(url)
    yield ResultReader(store)
    await store.close()


@pytest.fixture
def start(start_worker: StartWorker, store_server: Redis | PostgreSQL, queue: DeclaredQueue) -> StartWorker:
    def start(**variables: str) -> RunningWorker:
        defaults = {"queues": queue.name, "modules": "once_tasks", "STORE_URL": store_server.url}
        return start_worker(**defaults | variables)

    return start


async def test_a_task_of_a_killed_worker_is_taken_over_and_its_duplicates_do_not_run(
    start: StartWorker, queue: DeclaredQueue, gate: Gate, reader: ResultReader
) -> None:
    await declare_retry_path(queue)
    first = start(retry_initial_seconds="1")
    await queue.publish("once", n=queue.name, gate=str(gate))
    await first.wait_for_ledger(f"started {queue.name}")
    await queue.publish("once", n=queue.name, gate=str(gate))
    second = start(retry_initial_seconds="1", concurrency="5")
    first.kill()
    gate.open()
    await second.wait_for_ledger(f"finished {queue.name}")
    for _ in range(3):
        await queue.publish("once", n=queue.name)
    await second.wait_for_log(times=4, event="task", status="duplicate")
    await queue.wait_for_ready(0)
    assert second.ledger == [f"started {queue.name}", f"started {queue.name}", f"finished {queue.name}"]
    series = f'taskqueue_worker_tasks_total{{queue="{queue.name}",status="duplicate",type="once"}}'
    assert second.metric(series) == 4
    status = await reader.get(f"id-{queue.name}")
    assert status is not None
    assert (status.state, status.result) == (State.DONE, "ready")


async def test_a_done_task_whose_worker_is_killed_before_the_acknowledgement_is_a_duplicate(
    start: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("once", n=queue.name)
    first = start(modules="once_tasks,dies_before_acknowledgement")
    await first.exit_code()
    second = start()
    await second.wait_for_log(event="task", status="duplicate")
    assert second.ledger == [f"started {queue.name}", f"finished {queue.name}"]


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_a_long_task_resumes_from_its_last_checkpoint(
    start: StartWorker, queue: DeclaredQueue, gate: Gate, reader: ResultReader, end: str
) -> None:
    await queue.publish("long", n=queue.name, gate=str(gate))
    first = start()
    await first.wait_for_ledger("step 1")
    getattr(first, end)()
    await first.exit_code()
    second = start()
    gate.open()
    await second.wait_for_log(event="task", status="done")
    assert second.ledger == ["step 0", "step 1", "step 1", "step 2"]
    status = await reader.get(f"id-{queue.name}")
    assert status is not None
    assert (status.state, status.progress) == (State.DONE, 1)


async def test_dead_letters_show_their_reason(start: StartWorker, queue: DeclaredQueue, reader: ResultReader) -> None:
    await queue.publish("fail.once", n=f"failed-{queue.name}")
    await queue.publish("cut", n=f"overdue-{queue.name}")
    await queue.publish("cut", body=b"{", content_type="application/json", n=f"broken-{queue.name}")
    start(task_timeout_seconds="1", concurrency="3")
    for task, error in {
        f"failed-{queue.name}": "LookupError: no such page",
        f"overdue-{queue.name}": "TimeoutError: The task ran longer than 1 s.",
        f"broken-{queue.name}": "taskqueue_worker.payload.PayloadError: ",
    }.items():

        async def is_dead(task: str = task, error: str = error) -> bool:
            status = await reader.get(f"id-{task}")
            return status is not None and status.state is State.DEAD and str(status.error).startswith(error)

        await eventually(f"dead: {task}", is_dead)
