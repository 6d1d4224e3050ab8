"""The workers of each runtime keep the control protocol: real processes on a real broker."""

import pytest

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import AIO_PIKA, ALL, FASTSTREAM, TASKIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

EVERY_RUNTIME = pytest.mark.parametrize("runtime", ALL, ids=str)


@EVERY_RUNTIME
async def test_a_drained_worker_requeues_what_it_has_not_begun_and_consumes_again_after_an_undrain(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    assert (worker.probe("/healthz"), worker.probe("/readyz")) == (200, 200)
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    for n in (2, 3, 4):
        await send(queue, runtime, n=n)
    report = await operator.done("drain")
    assert (report["state"], report["in_flight"]) == ("draining", 1)
    await queue.wait_for_ready(3)
    gate.open()
    await operator.wait_for_report(state="drained", in_flight=0, prefetched=0)
    assert worker.ledger == ["started 1", "finished 1"]
    assert (worker.probe("/healthz"), worker.probe("/readyz")) == (200, 503)
    await operator.done("undrain")
    await worker.wait_for_ledger("finished 2", "finished 3", "finished 4")
    await operator.wait_for_report(state="consuming")
    assert len(worker.ledger) == len(set(worker.ledger)), "no task ran twice"


@EVERY_RUNTIME
async def test_sigterm_requeues_at_once_what_has_not_begun_and_the_running_task_ends(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    for n in (2, 3):
        await send(queue, runtime, n=n)
    worker.terminate()
    await queue.wait_for_ready(2)
    await operator.wait_for_report(state="leaving", in_flight=1)
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]
    assert await queue.ready() == 2


@pytest.mark.parametrize("runtime", [AIO_PIKA, TASKIQ, FASTSTREAM], ids=str)
async def test_a_worker_that_is_undrained_while_its_task_runs_starts_no_further_one(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain")
    await send(queue, runtime, n=2)
    await operator.done("undrain")
    await operator.wait_for_report(state="consuming")
    await queue.wait_for_ready(0)
    assert (await operator.done("report"))["in_flight"] == 1
    assert worker.ledger == ["started 1"]
    gate.open()
    await worker.wait_for_ledger("finished 2")
    assert worker.ledger == ["started 1", "finished 1", "started 2", "finished 2"]


async def test_a_subscriber_of_faststream_does_not_wait_for_the_tasks_of_another_one(
    start: StartApplication, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    further = await DeclaredQueue(queue.channel, f"{queue.name}-further").declare()
    worker = start(FASTSTREAM, FURTHER_QUEUE=further.name)
    await operator.wait_for_report(state="consuming")
    await send(queue, FASTSTREAM, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(further, FASTSTREAM, n=2)
    await worker.wait_for_ledger("finished 2")
    gate.open()
    await worker.wait_for_ledger("finished 1")
    await operator.done("drain")
    await operator.wait_for_report(state="drained")


async def test_a_faststream_broker_that_stops_and_starts_again_joins_again(
    start: StartApplication, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(FASTSTREAM, RESTARTS="1")
    await send(queue, FASTSTREAM, n=1)
    await worker.wait_for_ledger("finished 1")
    await operator.wait_for_report(state="consuming")
    await eventually("ready", lambda: worker.probe("/readyz") == 200)
    await operator.done("drain")
    await operator.wait_for_report(state="drained")
    worker.terminate()
    assert await worker.exit_code() == 0
