"""What a drain shows outside of the protocol, and what becomes of it when the broker has troubles of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.played_operator import EXCHANGE, Operator
from tests.integration.worker.running import Gate, RunningWorker, Work, eventually


@pytest.fixture
def taskqueue() -> str:
    return f"media/{uuid4().hex[:8]}"


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> Operator:
    return await Operator(channel, taskqueue).listen()


@pytest.fixture
async def worker(start: StartWorker, work: Work, taskqueue: str, operator: Operator) -> RunningWorker:
    """One that consumes, and whose operator knows it."""
    worker = start(queues=work.name, prefetch="4", name=taskqueue)
    await operator.heard(state="consuming")
    return worker


@pytest.fixture
def management(broker: Broker) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=broker.management_url, auth=("guest", "guest"), timeout=10) as client:
        yield client


async def cut(management: httpx.Client, name: str) -> None:
    """Close the connection of that name: a young one is not listed at once."""

    def found() -> bool:
        ours = [
            connection["name"]
            for connection in management.get("/api/connections").json()
            if connection["client_properties"].get("connection_name") == name
        ]
        for connection in ours:
            management.delete(f"/api/connections/{quote(connection)}")
        return bool(ours)

    await eventually(f"connection {name}", found)


async def test_a_drain_shows_in_probes_metrics_and_logs(
    worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    assert worker.get("/readyz")[0] == 200
    assert worker.metric("taskqueue_worker_draining") == 0
    await work.put(n=1, gate=str(gate))
    await worker.wrote("started 1")
    await operator.done("drain", lease_seconds=120)
    for ready in (200, 503):  # while a task runs, and when none does
        assert worker.get("/readyz")[0] == ready
        assert worker.get("/healthz")[0] == 200
        assert worker.metric("taskqueue_worker_draining") == 1
        assert worker.metric("taskqueue_worker_consuming") == 0
        gate.open()
        await operator.heard(state="drained")
    await operator.refused("drain", version=2)
    await operator.refused("undrain", seq=0)
    await operator.done("undrain")
    await operator.heard(state="consuming")
    assert worker.get("/readyz")[0] == 200
    assert worker.metric("taskqueue_worker_draining") == 0
    for series, count in {
        '{command="drain",outcome="done"}': 1,
        '{command="undrain",outcome="done"}': 1,
        '{command="undrain",outcome="refused"}': 1,
        '{command="unknown",outcome="refused"}': 1,
    }.items():
        assert worker.metric(f"taskqueue_worker_commands_total{series}") == count
    assert worker.metric("taskqueue_worker_reports_total") == len(operator.reports)
    (line,) = worker.lines(event="drained")
    assert (line["installation"], line["seq"]) == ("default", 1)
    assert len(worker.lines(event="undrained")) == 1
    assert [line["reason"] for line in worker.lines(event="command refused")] == [
        "version 2 is not known: this worker speaks 1",
        "superseded",
    ]
    assert worker.ledger == ["started 1", "finished 1 draining=False"], "only who is to leave is told so"


async def test_the_end_of_a_lease_is_logged(worker: RunningWorker, operator: Operator) -> None:
    await operator.done("drain", lease_seconds=0.5)
    await worker.logged(event="lease ended")


async def test_drains_and_undrains_in_quick_succession_neither_lose_nor_double_anything(
    worker: RunningWorker, operator: Operator, work: Work
) -> None:
    async def publish() -> None:
        for n in range(300):
            await work.put(n=n)

    publishing = asyncio.ensure_future(publish())
    for round_ in range(40):
        await operator.send("drain", seq=round_)
        if round_ % 3:
            await operator.done("undrain", seq=round_)
        else:
            await operator.send("undrain", seq=round_)
    await publishing
    await operator.done("undrain", seq=99)
    await eventually("all done", lambda: len(worker.lines(event="task", status="done", settled=True)) == 300)
    started = [entry for entry in worker.ledger if entry.startswith("started")]
    assert len(started) == len(set(started)) == 300
    assert not [line for line in worker.lines(event="task") if "attempt" in line], "no failure was counted"
    await work.has_ready(0)
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


async def test_a_second_sigterm_hurries_a_drained_worker_too(
    worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    await work.put(n=1, gate=str(gate))
    await worker.wrote("started 1")
    await operator.done("drain")
    worker.terminate()
    await operator.heard(state="leaving")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "cancelled 1"]
    await work.has_ready(1)


@pytest.mark.fault
async def test_a_drain_outlives_the_connections_and_ends_with_its_lease_all_the_same(
    management: httpx.Client, worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    taskqueue = operator.taskqueue
    await work.put(n=1, gate=str(gate))
    await worker.wrote("started 1")
    await operator.done("drain", lease_seconds=20)
    address = operator.address
    await cut(management, taskqueue)
    await cut(management, f"{taskqueue} control")
    await worker.logged(event="connected", times=2)
    await eventually("another address", lambda: operator.address != address)
    assert (operator.last["state"], operator.last["in_flight"]) == ("draining", 1), "what runs is its own business"
    await operator.done("drain", seq=2, lease_seconds=3)
    assert await work.ready() == 1, "it went with the connection"
    gate.open()
    drained = await operator.heard(state="drained")
    assert drained["drain"] == {"installation": "default", "epoch": drained["drain"]["epoch"], "seq": 2}
    assert await work.ready() == 1
    await operator.heard(state="consuming", drain=None)
    await work.has_ready(0)


@pytest.mark.fault
async def test_a_broker_that_restarts_while_a_worker_is_drained_finds_it_drained(
    broker: Broker, start: StartWorker, taskqueue: str
) -> None:
    async def meet() -> tuple[Work, Operator, aio_pika.abc.AbstractConnection]:
        connection = await aio_pika.connect(broker.url)
        channel = await connection.channel()
        work = await Work(channel, f"worker-{taskqueue[6:]}", "quorum").declare()
        return work, await Operator(channel, taskqueue).listen(), connection

    work, operator, connection = await meet()
    worker = start(queues=work.name, name=taskqueue)
    await operator.heard(state="consuming")
    await operator.done("drain", lease_seconds=120)
    await connection.close()
    broker.stop()
    broker.start()
    work, operator, connection = await meet()
    report = await operator.heard(state="drained")
    assert report["drain"]["installation"] == "default"
    await work.put(n=1)
    await worker.logged(event="connected", times=2)
    assert await work.ready() == 1
    await operator.done("undrain")
    await worker.wrote("finished 1 draining=False")
    await connection.close()


@pytest.fixture
async def apart(broker: Broker) -> AsyncIterator[tuple[str, AbstractChannel]]:
    """A virtual host where no operator has ever been."""
    vhost = f"apart-{uuid4().hex[:8]}"
    broker.ctl("add_vhost", "--", vhost)
    broker.ctl("set_permissions", "-p", vhost, "--", "guest", ".*", ".*", ".*")
    connection = await aio_pika.connect(broker.url + vhost)
    yield vhost, await connection.channel()
    await connection.close()
    broker.ctl("delete_vhost", "--", vhost)


async def test_without_an_operator_a_worker_works_and_is_heard_once_there_is_one(
    apart: tuple[str, AbstractChannel], start: StartWorker, taskqueue: str
) -> None:
    vhost, channel = apart
    work = await Work(channel, "jobs", "quorum").declare()
    worker = start(queues=work.name, name=taskqueue, vhost=vhost)
    (line,) = await worker.logged(event="the operator does not hear this worker")
    assert f"no exchange '{EXCHANGE}'" in line["reason"]
    await work.put(n=1)
    await worker.wrote("finished 1 draining=False")
    assert worker.get("/readyz")[0] == 200
    operator = await Operator(channel, taskqueue).listen()
    await operator.heard(state="consuming", completed=1)
    assert len(worker.lines(event="the operator does not hear this worker")) == 1
    assert worker.metric("taskqueue_worker_reconnects_total") == 0
    worker.terminate()
    assert await worker.exit_code() == 0


@pytest.fixture
def login(broker: Broker, taskqueue: str) -> Iterator[str]:
    """The URL of a user who may do nothing yet, and is called like the TaskQueue."""
    broker.ctl("add_user", "--", taskqueue, "secret")
    yield f"amqp://{quote(taskqueue, safe='')}:secret@127.0.0.1:{broker.amqp_port}/"
    broker.ctl("delete_user", "--", taskqueue)


async def test_a_worker_needs_no_more_than_to_read_its_queue_and_to_write_reports(
    broker: Broker, start: StartWorker, work: Work, operator: Operator, login: str
) -> None:
    name = operator.taskqueue
    broker.ctl("set_permissions", "-p", "/", "--", name, "^$", r"^taskqueue\.reports$", f"^{work.name}$")
    start(queues=work.name, name=name, RABBITMQ_URL=login)
    await operator.heard(state="consuming")
    assert (await operator.done("drain"))["state"] == "drained"
    await operator.done("undrain")
    await operator.heard(state="consuming")


async def test_a_worker_without_permission_to_report_works_all_the_same(
    broker: Broker, start: StartWorker, work: Work, operator: Operator, login: str
) -> None:
    name = operator.taskqueue
    broker.ctl("set_permissions", "-p", "/", "--", name, "^$", "^$", f"^{work.name}$")
    worker = start(queues=work.name, name=name, RABBITMQ_URL=login)
    (line,) = await worker.logged(event="the operator does not hear this worker")
    assert "ACCESS_REFUSED" in line["reason"]
    await work.put(n=1)
    await worker.wrote("finished 1 draining=False")
    assert operator.reports == []


@pytest.mark.fault
async def test_a_memory_alarm_holds_up_neither_tasks_nor_the_end(
    broker: Broker, worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    for n in range(3):
        await work.put(n=n, gate=str(gate))
    await worker.wrote("started 0")
    broker.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        await asyncio.sleep(20)  # past a report, which the broker does not take
        reports = len(operator.reports)
        gate.open()
        await worker.logged(event="task", status="done", settled=True, times=3)
        assert worker.get("/readyz")[0] == 200
        assert len(operator.reports) == reports
        worker.terminate()
        assert await worker.exit_code() == 0
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.6")
    await work.has_ready(0)


@pytest.mark.fault
async def test_in_a_memory_alarm_a_lease_ends_all_the_same_and_after_it_commands_arrive(
    broker: Broker, worker: RunningWorker, operator: Operator, work: Work
) -> None:
    await operator.done("drain", lease_seconds=8)
    await work.put(n=1)
    assert await work.ready() == 1
    broker.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        sending = asyncio.ensure_future(operator.send("drain", seq=2))
        await worker.wrote("finished 1 draining=False")
        assert operator.last["state"] == "drained", "nobody hears that it is not any more"
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.6")
    late = await operator.answer(await sending)
    assert (late["answer"]["result"], late["state"]) == ("done", "drained")
    assert late["completed"] == 1
