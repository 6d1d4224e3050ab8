"""Celery keeps the control protocol, with no change of the application: real workers on a real broker."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.integration.celery.conftest import ADAPTER, StartCelery, send
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.mark.parametrize("acks_late", ["", "1"], ids=["early", "late"])
@pytest.mark.parametrize(
    ("version", "pool"), [("5.7", "prefork"), ("5.4", "prefork"), ("5.7", "threads"), ("5.7", "gevent")]
)
async def test_a_drained_worker_gives_back_what_it_has_not_begun_and_consumes_again_after_an_undrain(  # noqa: PLR0913, PLR0917 - fixtures
    start_celery: StartCelery,
    queue: DeclaredQueue,
    operator: FakeOperator,
    gate: Gate,
    version: str,
    pool: str,
    acks_late: str,
) -> None:
    worker = start_celery(*ADAPTER, f"--pool={pool}", version=version, ACKS_LATE=acks_late)
    await operator.wait_for_report(state="consuming")
    assert (worker.probe("/healthz"), worker.probe("/readyz")) == (200, 200)
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, n=9, eta=in_an_hour())
    await send(queue, "limited", n=7)
    await send(queue, "limited", n=8)
    for n in (2, 3):
        await send(queue, n=n)
    await queue.wait_for_ready(0)
    report = await operator.done("drain")
    assert (report["state"], report["in_flight"], report["prefetched"]) == ("draining", 1, 0)
    await queue.wait_for_ready(5)
    gate.open()
    await operator.wait_for_report(state="drained", in_flight=0)
    assert worker.ledger == ["started 1", "finished 1"]
    assert (worker.probe("/healthz"), worker.probe("/readyz")) == (200, 503)
    await operator.done("undrain")
    await worker.wait_for_ledger("finished 2", "finished 3")
    await operator.wait_for_report(state="consuming")
    assert len(worker.ledger) == len(set(worker.ledger)), "no task ran twice"


@pytest.mark.parametrize(("pool", "acks_late"), [("prefork", ""), ("threads", ""), ("gevent", "1")])
async def test_sigterm_gives_back_at_once_what_has_not_begun_and_the_running_task_ends(  # noqa: PLR0913, PLR0917 - fixtures
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, gate: Gate, pool: str, acks_late: str
) -> None:
    worker = start_celery(*ADAPTER, f"--pool={pool}", ACKS_LATE=acks_late)
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, n=9, eta=in_an_hour())
    for n in (2, 3):
        await send(queue, n=n)
    await queue.wait_for_ready(0)
    worker.terminate()
    await queue.wait_for_ready(3)
    await operator.wait_for_report(state="leaving", in_flight=1, prefetched=0)
    assert worker.probe("/healthz") == 200
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]
    assert await queue.ready() == 3


async def test_a_worker_that_gets_sigterm_while_it_starts_loses_no_task(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    for n in range(3):
        await send(queue, n=n)
    worker = start_celery()
    await worker.wait_for_log("Connected to")
    worker.terminate()
    await worker.exit_code()
    finished = [entry for entry in worker.ledger if entry.startswith("finished")]
    await queue.wait_for_ready(3 - len(finished))
    assert operator.reports == [] or operator.last["state"] == "leaving"


async def done_twice(operator: FakeOperator, command: str) -> None:
    """Send the same command twice and wait for both answers."""
    answer = {"id": f"{command} twice", "result": "done", "reason": None}
    for _ in range(2):
        await operator.send(command, id=answer["id"])
    await eventually("both answers", lambda: [report["answer"] for report in operator.reports].count(answer) == 2)


async def test_commands_may_come_twice_and_a_lease_ends_by_itself(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start_celery(*ADAPTER, "--pool=solo")
    await operator.wait_for_report(state="consuming")
    for command, state in (("drain", "drained"), ("undrain", "consuming")):
        await done_twice(operator, command)
        await operator.wait_for_report(state=state)
    await operator.done("drain", lease_seconds=1)
    await send(queue, n=1)
    await operator.wait_for_report(state="consuming", drain=None)
    await worker.wait_for_ledger("finished 1")


@pytest.mark.fault
async def test_a_worker_stays_drained_when_its_connections_are_lost(  # noqa: PLR0913, PLR0917 - fixtures
    start_celery: StartCelery,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
    taskqueue: str,
    gate: Gate,
) -> None:
    worker = start_celery(CONNECTION_NAME=f"{taskqueue} celery")
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain")
    address = operator.address
    await api.close_connections(management, f"{taskqueue} celery")
    await api.close_connections(management, f"{taskqueue} control")
    await eventually("another address", lambda: operator.address != address)
    await send(queue, n=2)
    assert operator.last["in_flight"] == 1, "the running task continues"
    await worker.wait_for_log("Connection to broker lost")
    gate.open()
    await operator.wait_for_report(state="drained")
    assert await queue.ready() == 1
    await operator.done("undrain")
    await worker.wait_for_ledger("finished 2")


async def test_a_worker_whose_queue_is_gone_at_the_undrain_ends_as_celery_does(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start_celery()
    await operator.wait_for_report(state="consuming")
    await operator.done("drain")
    await operator.wait_for_report(state="drained")
    await queue.delete()
    await operator.send("undrain")
    assert await worker.exit_code() != 0, "Kubernetes restarts it"


@pytest.mark.fault
async def test_a_worker_that_is_killed_while_it_drains_leaves_its_task_to_another(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start_celery(ACKS_LATE="1")
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    incarnation = (await operator.done("drain"))["incarnation"]
    worker.kill()
    await queue.wait_for_ready(1)
    gate.open()
    other = start_celery(ACKS_LATE="1")
    await other.wait_for_ledger("finished 1")
    await eventually("another incarnation", lambda: operator.last["incarnation"] != incarnation)
    assert other.ledger == ["started 1", "started 1", "finished 1"]


async def test_sigterm_gives_back_what_the_worker_has_not_read_yet(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    # Without the channels of these, Celery itself reads nothing more while its task ends.
    nothing_else = (
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--",
        "worker.enable_remote_control=no",
    )
    worker = start_celery(*ADAPTER, *nothing_else, ACKS_LATE="1")
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    with worker.paused():
        for n in range(2, 8):
            await send(queue, n=n)
        await queue.wait_for_ready(0)
        worker.terminate()
    await queue.wait_for_ready(6)
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]
    assert await queue.ready() == 6, "the task is acknowledged"


async def test_sigterm_between_two_looks_at_the_wish_gives_back_what_waits_for_a_process(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start_celery("-I", "taskqueue_drain.celery,ends_at_eta")
    await operator.wait_for_report(state="consuming")
    for n in (1, 2, 3):
        await send(queue, n=n, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.wait_for_report(in_flight=1, prefetched=2)
    await send(queue, n=9, eta=in_an_hour())
    await queue.wait_for_ready(3)
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]


@pytest.mark.parametrize("acks_late", ["", "1"])
async def test_a_task_that_begins_after_sigterm_in_its_process_runs_once(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, acks_late: str
) -> None:
    worker = start_celery(ACKS_LATE=acks_late)
    await operator.wait_for_report(state="consuming")
    with worker.pool_paused():
        for n in (1, 2):
            await send(queue, n=n)
        await operator.wait_for_report(in_flight=1, prefetched=1)
        worker.terminate()
        await queue.wait_for_ready(1)
        await operator.wait_for_report(state="leaving", in_flight=1, prefetched=0)
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]
    assert await queue.ready() == 1, "the task is acknowledged"


async def test_the_processes_of_an_idle_worker_end_in_order(start_celery: StartCelery, operator: FakeOperator) -> None:
    worker = start_celery("-I", "taskqueue_drain.celery,tells_its_end")
    await operator.wait_for_report(state="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["a process ends with 0"]
