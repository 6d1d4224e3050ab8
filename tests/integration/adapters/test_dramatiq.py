"""What is special about dramatiq: it holds delayed messages, and runs several processes by default."""

import json
import time

import httpx
import pytest

from tests.cluster.broker import Broker
from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import DRAMATIQ, DRAMATIQ_COMMAND, message_of, send
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.raw_publisher import publish_raw
from tests.integration.worker.test_hostile_messages import UNREADABLE

HOUR_MILLISECONDS = 3_600_000
PROCESSES = Runtime("dramatiq", (*DRAMATIQ_COMMAND, "--processes", "2"), "dramatiq-2.2", declares=True)


@pytest.mark.parametrize("runtime", [DRAMATIQ], ids=str)
async def test_a_drained_worker_gives_back_messages_that_wait_for_their_time(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    delayed = f"{queue.name}.DQ"
    await send(queue, runtime, to=delayed, n=2, eta=time.time() * 1000 + HOUR_MILLISECONDS)
    await operator.command("report")
    await queue.wait_for_ready(0, delayed)
    report = await operator.done("drain")
    assert (report["state"], report["in_flight"]) == ("draining", 1)
    await queue.wait_for_ready(1, delayed)
    gate.open()
    await operator.wait_for_report(state="drained", in_flight=0, prefetched=0)
    await operator.done("undrain")
    await queue.wait_for_ready(0, delayed)
    assert worker.ledger == ["started 1", "finished 1"]


@pytest.mark.parametrize("runtime", [DRAMATIQ], ids=str)
async def test_messages_whose_properties_cannot_be_read_are_done_and_no_connection_is_lost(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, broker: Broker
) -> None:
    for n, (flags, properties) in enumerate(UNREADABLE.values()):
        body = json.dumps(message_of(runtime, queue.name, n=n)).encode()
        await publish_raw(broker.url, queue.name, flags=flags, properties=properties, body=body)
    worker = start(runtime)
    await worker.wait_for_ledger(*(f"finished {n}" for n in range(len(UNREADABLE))))
    await queue.wait_for_ready(0)
    assert worker.ledger.count("started 0") == 1
    assert "onnection closed" not in worker.output


@pytest.mark.parametrize("runtime", [PROCESSES], ids=["processes"])
async def test_several_processes_in_a_pod_do_not_join_and_say_the_way_out(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(runtime)
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    await worker.wait_for_log("start dramatiq with --processes 1")
    await eventually("ready", lambda: worker.is_listening and worker.probe("/readyz") == 200)
    assert worker.probe("/healthz") == 200, "the pod is not restarted"
    worker.terminate()
    assert await worker.exit_code() == 0
    assert operator.reports == [], "the operator never takes it for idle"


@pytest.mark.fault
@pytest.mark.parametrize("runtime", [DRAMATIQ], ids=str)
async def test_a_task_that_outlives_its_connection_acknowledges_no_other_message(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
    taskqueue: str,
    gate: Gate,
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await api.close_connections(management, taskqueue)
    await operator.wait_for_report(state="starting")
    await operator.wait_for_report(state="consuming")
    await queue.wait_for_ready(0)
    gate.open()
    await eventually("the second run", lambda: worker.ledger.count("finished 1") == 2)
    assert worker.output.count("the connection was lost during the task") == 1
    assert "not in known tags" not in worker.output, "the second run acknowledges its own message"
