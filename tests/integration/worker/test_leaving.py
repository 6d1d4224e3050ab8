"""SIGTERM, as a real signal to a real process."""

import pytest

from tests.integration.worker.conftest import MakeWork, StartWorker
from tests.integration.worker.running import Gate, Work, eventually


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_the_hoard_goes_back_at_once_while_the_running_task_finishes(
    start: StartWorker, make_work: MakeWork, gate: Gate, kind: str
) -> None:
    work = await make_work(kind)
    for n in range(16):
        await work.put(n=n, gate=str(gate))
    leaving = start(queues=work.name, prefetch="16")
    await leaving.wrote("started 0")
    await eventually("hoard of 15", lambda: leaving.metric("taskqueue_worker_prefetched") == 15)
    leaving.terminate()
    await work.has_ready(15)
    assert leaving.ledger == ["started 0"], "the task still runs while its neighbours are back"
    assert leaving.get("/readyz")[0] == 503
    assert leaving.get("/healthz")[0] == 200
    assert leaving.metric("taskqueue_worker_draining") == 1
    assert leaving.metric("taskqueue_worker_consuming") == 0
    gate.open()
    assert await leaving.exit_code() == 0
    assert leaving.ledger == ["started 0", "finished 0 draining=True"]

    taking_over = start(queues=work.name)
    await taking_over.logged(event="task", status="done", times=15)
    assert sorted(line for line in taking_over.ledger if line.startswith("started")) == sorted(
        f"started {n}" for n in range(16)
    )
    assert not [line for line in taking_over.lines(event="task") if "attempt" in line], "no failure was counted"
    assert await work.ready(work.dead) == 0


async def test_an_idle_worker_leaves_at_once(start: StartWorker, work: Work) -> None:
    worker = start(queues=work.name)
    await worker.logged(event="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_the_second_sigterm_cancels_what_runs_and_gives_it_back(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put(n=1, gate=str(gate))
    worker = start(queues=work.name)
    await worker.wrote("started 1")
    worker.terminate()
    await worker.logged(event="stopped consuming")
    assert await work.ready() == 0
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert worker.lines(event="task", status="requeued", settled=True)
    await work.has_ready(1)
    assert await work.ready(work.dead) == 0


async def test_a_task_over_its_time_is_cancelled_and_settled_and_then_the_worker_has_left(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    """The grace period is longer than the task's time, so nothing is left to be cut."""
    await work.put(n=1, gate=str(gate))
    worker = start(queues=work.name, task_timeout_seconds="3")
    await worker.wrote("started 1")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert worker.lines(event="task", status="timeout", settled=True)
    assert (await work.take(work.dead)).message_id == "id-1"
    assert await work.ready() == 0


async def test_a_thread_that_does_not_stop_gives_its_message_back_by_the_end_of_the_process(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put("block", n=1, gate=str(gate))
    worker = start(queues=work.name)
    await worker.wrote("started 1")
    worker.terminate()
    await worker.logged(event="stopped consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.lines(event="task", status="abandoned", settled=False)
    await work.has_ready(1)


async def test_a_worker_without_a_broker_leaves_when_asked(start: StartWorker) -> None:
    worker = start(RABBITMQ_URL="amqp://guest:guest@127.0.0.1:1/", queues="q")
    await worker.logged(event="not connected")
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/readyz")[0] == 503
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_sigterm_during_import_ends_the_worker(start: StartWorker) -> None:
    worker = start(queues="q", modules="slow_tasks")
    await worker.wrote("importing")
    worker.terminate()
    assert await worker.exit_code() == 0
