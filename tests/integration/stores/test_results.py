"""The status, progress, checkpoint and result of a task, with Redis and with PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taskqueue_worker import Call, Reject, Requeue
from taskqueue_worker.dead_letters import Problem
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.results import ResultReader, Results, State, TaskStatus
from taskqueue_worker.results.run_record import SupersededError
from taskqueue_worker.stores import Store, StoreUnavailableError
from tests.calls import call
from tests.cluster.store_server import PostgreSQL, Redis


@pytest.fixture
def results(store: Store) -> Results:
    return Results(store)


async def status_of(store: Store, task: Call) -> TaskStatus:
    status = await ResultReader(store).get(str(task.context.task_id))
    assert status is not None
    return status


async def test_a_status_goes_from_queued_to_running_to_done(store: Store, results: Results) -> None:
    task = call()
    task_id = str(task.context.task_id)
    assert await ResultReader(store).get(task_id) is None
    await results.announce(task_id, "t")
    queued = await status_of(store, task)
    assert (queued.state, queued.type, queued.attempt, queued.started_at) == (State.QUEUED, "t", 0, None)
    seen: list[TaskStatus] = []

    async def run() -> dict[str, int]:
        seen.append(await status_of(store, task))
        return {"pages": 3}

    assert await results(task, run) == {"pages": 3}
    assert (seen[0].state, seen[0].attempt, seen[0].result) == (State.RUNNING, 1, None)
    assert seen[0].started_at is not None
    done = await status_of(store, task)
    assert (done.state, done.result, done.error, done.is_final) == (State.DONE, {"pages": 3}, None, True)
    await results.announce(task_id, "t")
    assert await status_of(store, task) == done, "what is known stays"


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (ValueError("no such page\0"), State.FAILED, "ValueError: no such page"),
        (Reject("unknown"), State.FAILED, "taskqueue_worker.outcomes.Reject: unknown"),
        (Requeue("busy"), State.QUEUED, "taskqueue_worker.outcomes.Requeue: busy"),
        (asyncio.CancelledError(), State.QUEUED, "asyncio.exceptions.CancelledError: "),
    ],
)
async def test_a_failure_shows_its_text(
    store: Store, results: Results, error: BaseException, state: State, text: str
) -> None:
    task = call()

    async def run() -> None:
        raise error

    with pytest.raises(type(error)):
        await results(task, run)
    status = await status_of(store, task)
    assert (status.state, status.error) == (state, text.strip())


async def test_a_dead_letter_shows_its_reason(store: Store, results: Results) -> None:
    task = call()
    attempt = SimpleNamespace(number=3)
    delivery = cast("Delivery", SimpleNamespace(task_id=task.context.task_id, type="t", attempt=attempt))
    await results.dead_lettered(delivery, Problem("worker_lost", "WorkerLostError", "3 workers"))
    status = await status_of(store, task)
    assert (status.state, status.attempt, status.error) == (State.DEAD, 3, "WorkerLostError: 3 workers")


async def test_a_task_resumes_from_its_last_checkpoint_until_it_is_done(results: Results) -> None:
    task = call()

    async def cut() -> None:
        assert task.context.resume is None
        await task.context.checkpoint({"page": 1})
        await task.context.checkpoint({"page": 2})
        raise Requeue("the worker leaves")

    async def resumed() -> object:
        return task.context.resume

    with pytest.raises(Requeue):
        await results(task, cut)
    assert await results(task, resumed) == {"page": 2}
    assert await results(task, resumed) is None, "a done task has no checkpoint"


async def test_a_thread_stores_checkpoints_and_progress(store: Store, results: Results) -> None:
    task = call()

    def work() -> None:
        task.context.progress({"page": 7})
        task.context.checkpoint_sync([7])
        raise LookupError

    with pytest.raises(LookupError):
        await results(task, lambda: asyncio.to_thread(work))
    assert (await status_of(store, task)).progress == {"page": 7}

    async def resumed() -> object:
        return task.context.resume

    assert await results(task, resumed) == [7]


async def test_progress_is_stored_at_most_once_a_second_and_the_last_one_always(
    store: Store, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, writes = call(), []
    write = type(results._records).write

    async def counted(*arguments: Any) -> object:  # noqa: ANN401 - of the method
        writes.append(arguments[2])
        return await write(*arguments)

    monkeypatch.setattr(type(results._records), "write", counted)

    async def run() -> None:
        for step in range(101):
            task.context.progress(step / 100)
            await asyncio.sleep(0.001)

    await results(task, run)
    assert len(writes) <= 4, "begin, one or two of progress, end"
    assert (await status_of(store, task)).progress == 1


async def test_a_reader_sees_the_changes_until_the_end(store: Store, results: Results) -> None:
    task, gate = call(), asyncio.Event()

    async def run() -> str:
        task.context.progress(0.5)
        await gate.wait()
        return "ready"

    await results.announce(str(task.context.task_id), "t")
    running: asyncio.Future[object] | None = None
    seen = []
    async for status in ResultReader(store).changes(str(task.context.task_id)):
        seen.append((status.state, status.progress, status.result))
        if running is None:
            running = asyncio.ensure_future(results(task, run))
        if status.progress == 0.5:
            gate.set()
    assert running is not None
    await running
    assert seen[0] == (State.QUEUED, None, None)
    assert seen[-1] == (State.DONE, 0.5, "ready")
    assert (State.RUNNING, 0.5, None) in seen


async def test_a_run_that_another_one_has_replaced_stores_nothing_and_is_told(store: Store, results: Results) -> None:
    task, begun, gate = call(), asyncio.Event(), asyncio.Event()
    told: list[BaseException] = []

    async def old() -> str:
        begun.set()
        await gate.wait()
        task.context.progress(0.1)
        try:
            await task.context.checkpoint("old")
        except SupersededError as error:
            told.append(error)
        return "old"

    async def new() -> str:
        await task.context.checkpoint("new")
        gate.set()
        await running
        return "new"

    running = asyncio.ensure_future(results(task, old))
    await begun.wait()
    await results(task, new)
    status = await status_of(store, task)
    assert (status.state, status.result, status.progress) == (State.DONE, "new", None)
    assert len(told) == 1

    async def late() -> str:
        task.context.progress(0.2)
        await task.context.checkpoint("late")
        return "late"

    assert await results(task, late) == "late"
    assert await status_of(store, task) == status, "done is final"


async def test_what_is_too_large_is_refused_or_left_out(store: Store, results: Results) -> None:
    task = call()

    async def run() -> str:
        with pytest.raises(ValueError, match="checkpoint has 70002 bytes of JSON; at most 65536"):
            await task.context.checkpoint("x" * 70_000)
        with pytest.raises(ValueError, match="progress must be JSON"):
            task.context.progress({"a": object()})
        with pytest.raises(ValueError, match="must be a fraction from 0 to 1"):
            task.context.progress(50.0)
        return "x" * 70_000

    await results(task, run)
    status = await status_of(store, task)
    assert (status.state, status.result) == (State.DONE, None)
    assert status.error is not None
    assert "The result has 70002 bytes" in status.error


async def test_a_record_expires(store: Store) -> None:
    task = call()

    async def run() -> None:
        await task.context.checkpoint(1)
        raise Requeue

    results = Results(store, keep=1)
    with pytest.raises(Requeue):
        await results(task, run)
    await asyncio.sleep(1.1)
    assert await ResultReader(store).get(str(task.context.task_id)) is None

    async def resumed() -> object:
        return task.context.resume

    assert await results(task, resumed) is None


async def test_a_task_without_id_or_results_has_no_record(results: Results) -> None:
    task = call(task_id=None)

    async def run() -> None:
        with pytest.raises(RuntimeError, match=r"Results\(\.\.\.\)"):
            task.context.progress(0.5)

    await results(task, run)


async def test_a_task_that_ends_while_the_server_restarts_is_recorded(
    store_server: Redis | PostgreSQL, store: Store, results: Results
) -> None:
    task = call(deadline=datetime.now(UTC) + timedelta(hours=1))

    async def run() -> str:
        await task.context.checkpoint(1)
        store_server.kill()
        with pytest.raises(StoreUnavailableError, match=str(store_server.port)):
            await task.context.checkpoint(2)
        restarting = asyncio.to_thread(store_server.boot)
        background.append(asyncio.ensure_future(restarting))
        return "ready"

    background: list[asyncio.Future[None]] = []
    await results(task, run)
    await background[0]
    assert (await status_of(store, task)).result == "ready"
    store_server.kill()
    try:
        with pytest.raises(Requeue):
            await results(call(), run)
    finally:
        store_server.boot()
