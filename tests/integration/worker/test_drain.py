"""Effects of a drain outside the protocol, and drains while the broker fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import EXCHANGE, FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.memory_alarm import MemoryAlarm
from tests.integration.worker.running_worker import RunningWorker


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> FakeOperator:
    return await FakeOperator(channel, taskqueue).listen()


@pytest.fixture
async def worker(start_worker: StartWorker, queue: DeclaredQueue, operator: FakeOperator) -> RunningWorker:
    """A worker that consumes and has reported to the operator."""
    worker = start_worker(queues=queue.name, prefetch="4")
    await operator.wait_for_report(state="consuming")
    return worker


@pytest.fixture
async def impatient_worker(start_worker: StartWorker, queue: DeclaredQueue, operator: FakeOperator) -> RunningWorker:
    """The same, with a report and a retry each second."""
    worker = start_worker(queues=queue.name, prefetch="4", modules="short_periods,ledger_tasks")
    await operator.wait_for_report(state="consuming")
    return worker


async def test_probes_metrics_and_logs_show_a_drain(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    assert worker.get("/readyz")[0] == 200
    assert worker.metric("taskqueue_worker_draining") == 0
    await queue.publish(n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain", lease_seconds=120)
    for ready in (200, 503):  # while a task runs, and afterwards
        assert worker.get("/readyz")[0] == ready
        assert worker.get("/healthz")[0] == 200
        assert worker.metric("taskqueue_worker_draining") == 1
        assert worker.metric("taskqueue_worker_consuming") == 0
        gate.open()
        await operator.wait_for_report(state="drained")
    await operator.refused("drain", version=2)
    await operator.refused("undrain", seq=0)
    await operator.done("undrain")
    await operator.wait_for_report(state="consuming")
    assert worker.get("/readyz")[0] == 200
    assert worker.metric("taskqueue_worker_draining") == 0
    for series, count in {
        '{command="drain",outcome="done"}': 1,
        '{command="undrain",outcome="done"}': 1,
        '{command="undrain",outcome="refused"}': 1,
        '{command="unknown",outcome="refused"}': 1,
    }.items():
        assert worker.metric(f"taskqueue_worker_commands_total{series}") == count
    await eventually("all reports", lambda: worker.metric("taskqueue_worker_reports_total") == len(operator.reports))
    (line,) = worker.lines(event="draining")
    assert (line["installation"], line["seq"]) == ("default", 1)
    assert len(worker.lines(event="undrained")) == 1
    malformed, superseded = (line["reason"] for line in worker.lines(event="command refused"))
    assert malformed.startswith("version 2 ")
    assert superseded == "superseded"
    assert worker.ledger == ["started 1", "finished 1 draining=False"], "context.draining is set only at SIGTERM"


async def test_the_expiry_of_a_drain_lease_is_logged(worker: RunningWorker, operator: FakeOperator) -> None:
    await operator.done("drain", lease_seconds=0.5)
    await worker.wait_for_log(event="drain lease expired")


async def test_rapid_drains_and_undrains_neither_lose_nor_duplicate_a_task(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue
) -> None:
    async def publish() -> None:
        for n in range(300):
            await queue.publish(n=n)

    publishing = asyncio.ensure_future(publish())
    for seq in range(40):
        await operator.send("drain", seq=seq)
        if seq % 3:
            await operator.done("undrain", seq=seq)
        else:
            await operator.send("undrain", seq=seq)
    await publishing
    await operator.done("undrain", seq=99)
    await eventually("all done", lambda: len(worker.lines(event="task", status="done", settled=True)) == 300)
    assert len(worker.started) == len(set(worker.started)) == 300
    assert {line["attempt"] for line in worker.lines(event="task")} == {1}, "no attempt is counted"
    await queue.wait_for_ready(0)
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


async def test_a_second_sigterm_cancels_the_running_tasks_of_a_draining_worker_too(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain")
    worker.terminate()
    await operator.wait_for_report(state="leaving")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    await queue.wait_for_ready(1)


@pytest.mark.fault
async def test_a_drain_survives_the_loss_of_both_connections_and_ends_with_its_lease(
    management: httpx.Client, impatient_worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    taskqueue = operator.taskqueue
    await queue.publish(n=1, gate=str(gate))
    await impatient_worker.wait_for_ledger("started 1")
    await operator.done("drain", lease_seconds=60)
    address = operator.address
    await api.close_connections(management, taskqueue)
    await api.close_connections(management, f"{taskqueue} control")
    await impatient_worker.wait_for_log(event="connected", times=2)
    await eventually("another address", lambda: operator.address != address)
    assert (operator.last["state"], operator.last["in_flight"]) == ("draining", 1), "the running task continues"
    await operator.done("drain", seq=2, lease_seconds=60)
    assert await queue.ready() == 1, "requeued when the connection was lost"
    gate.open()
    drained = await operator.wait_for_report(state="drained")
    assert drained["drain"] == {"installation": "default", "epoch": drained["drain"]["epoch"], "seq": 2}
    assert await queue.ready() == 1
    await operator.done("drain", seq=3, lease_seconds=1)
    await operator.wait_for_report(state="consuming", drain=None)
    await queue.wait_for_ready(0)


@pytest.mark.fault
async def test_a_worker_stays_drained_through_a_restart_of_the_broker(
    broker: Broker, start_worker: StartWorker, taskqueue: str
) -> None:
    @asynccontextmanager
    async def connected() -> AsyncIterator[tuple[DeclaredQueue, FakeOperator]]:
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            queue = await DeclaredQueue(channel, f"worker-{taskqueue.removeprefix('media/')}").declare()
            yield queue, await FakeOperator(channel, taskqueue).listen()

    async with connected() as (queue, operator):
        worker = start_worker(queues=queue.name, modules="short_periods,ledger_tasks")
        await operator.wait_for_report(state="consuming")
        await operator.done("drain", lease_seconds=120)
    broker.stop()
    broker.start()
    async with connected() as (queue, operator):
        report = await operator.wait_for_report(state="drained")
        assert report["drain"]["installation"] == "default"
        await queue.publish(n=1)
        await worker.wait_for_log(event="connected", times=2)
        assert await queue.ready() == 1
        await operator.done("undrain")
        await worker.wait_for_ledger("finished 1 draining=False")


@pytest.fixture
async def new_vhost(broker: Broker, management: httpx.Client) -> AsyncIterator[tuple[str, AbstractChannel]]:
    """A vhost where no operator has declared the exchange yet."""
    vhost = f"vhost-{uuid4().hex[:8]}"
    api.put_vhost(management, vhost)
    api.put_permissions(management, "guest", vhost, {"configure": ".*", "write": ".*", "read": ".*"})
    async with await aio_pika.connect(broker.url + vhost) as connection:
        yield vhost, await connection.channel()
    api.delete_vhost(management, vhost)


async def test_a_worker_consumes_without_an_operator_and_reports_once_there_is_one(
    new_vhost: tuple[str, AbstractChannel], start_worker: StartWorker, taskqueue: str
) -> None:
    vhost, channel = new_vhost
    queue = await DeclaredQueue(channel, "jobs").declare()
    worker = start_worker(queues=queue.name, vhost=vhost, modules="short_periods,ledger_tasks")
    (line,) = await worker.wait_for_log(event="control channel down")
    assert f"no exchange '{EXCHANGE}'" in line["reason"]
    await queue.publish(n=1)
    await worker.wait_for_ledger("finished 1 draining=False")
    assert worker.get("/readyz")[0] == 200
    operator = await FakeOperator(channel, taskqueue).listen()
    await operator.wait_for_report(state="consuming", completed=1)
    assert len(worker.lines(event="control channel down")) == 1
    assert worker.metric("taskqueue_worker_reconnects_total") == 0
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_read_on_the_queue_and_write_on_the_exchange_are_sufficient_permissions(
    management: httpx.Client, start_worker: StartWorker, queue: DeclaredQueue, operator: FakeOperator, user_url: str
) -> None:
    permissions = {"configure": "^$", "write": r"^taskqueue\.reports$", "read": f"^{queue.name}$"}
    api.put_permissions(management, operator.taskqueue, "/", permissions)
    start_worker(queues=queue.name, RABBITMQ_URL=user_url)
    await operator.wait_for_report(state="consuming")
    assert (await operator.done("drain"))["state"] == "drained"
    await operator.done("undrain")
    await operator.wait_for_report(state="consuming")


async def test_a_worker_without_permission_to_report_consumes(
    management: httpx.Client, start_worker: StartWorker, queue: DeclaredQueue, operator: FakeOperator, user_url: str
) -> None:
    permissions = {"configure": "^$", "write": "^$", "read": f"^{queue.name}$"}
    api.put_permissions(management, operator.taskqueue, "/", permissions)
    worker = start_worker(queues=queue.name, RABBITMQ_URL=user_url)
    (line,) = await worker.wait_for_log(event="control channel down")
    assert "ACCESS_REFUSED" in line["reason"]
    await queue.publish(n=1)
    await worker.wait_for_ledger("finished 1 draining=False")
    assert operator.reports == []


@pytest.fixture
def memory_alarm(broker: Broker, management: httpx.Client) -> MemoryAlarm:
    return MemoryAlarm(broker, management)


@pytest.mark.fault
async def test_a_memory_alarm_delays_neither_tasks_nor_shutdown(
    memory_alarm: MemoryAlarm, impatient_worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in range(3):
        await queue.publish(n=n, gate=str(gate))
    await impatient_worker.wait_for_ledger("started 0")
    with memory_alarm:
        await memory_alarm.wait_until_blocked(f"{impatient_worker.taskqueue} control")
        reports = len(operator.reports)
        gate.open()
        await impatient_worker.wait_for_log(event="task", status="done", settled=True, times=3)
        assert impatient_worker.get("/readyz")[0] == 200
        assert len(operator.reports) == reports
        impatient_worker.terminate()
        assert await impatient_worker.exit_code() == 0
    await queue.wait_for_ready(0)


@pytest.mark.fault
async def test_a_drain_lease_expires_during_a_memory_alarm_and_commands_arrive_after_it(
    memory_alarm: MemoryAlarm, worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue
) -> None:
    await operator.done("drain", lease_seconds=8)
    await queue.publish(n=1)
    assert await queue.ready() == 1
    with memory_alarm:
        sending = asyncio.ensure_future(operator.send("drain", seq=2))
        await worker.wait_for_ledger("finished 1 draining=False")
        assert operator.last["state"] == "drained", "the alarm blocks the report of the new state"
    late = await operator.wait_for_answer(await sending)
    assert (late["answer"]["result"], late["state"]) == ("done", "drained")
    assert late["completed"] == 1
