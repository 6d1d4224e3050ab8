"""The broker goes, changes its mind, or wants other credentials."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import aio_pika
import httpx
import pytest

from tests.cluster.broker import Broker
from tests.integration.worker.conftest import MakeWork, StartWorker
from tests.integration.worker.running import Gate, RunningWorker, Work, eventually

WEIRD = "p@ss/w%20rd:?#&+=ü "


@pytest.fixture
def management(broker: Broker) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=broker.management_url, auth=("guest", "guest"), timeout=10) as client:
        yield client


async def cut(management: httpx.Client, worker: RunningWorker) -> None:
    """Close connections of workers until this one has noticed: a young connection is not listed at once."""

    def noticed() -> bool:
        for connection in management.get("/api/connections").json():
            if connection["client_properties"].get("connection_name") == "tests/worker":
                management.delete(f"/api/connections/{quote(connection['name'])}")
        return bool(worker.lines(event="not connected"))

    await eventually("a lost connection", noticed)


@pytest.mark.fault
async def test_a_worker_whose_connection_is_cut_comes_back_and_goes_on(
    management: httpx.Client, start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put(n=1, gate=str(gate))
    await work.put(n=2)
    worker = start(queues=work.name, prefetch="2")
    await worker.wrote("started 1")
    await cut(management, worker)
    assert worker.ledger == ["started 1"], "what it prefetched went with the connection"
    await worker.logged(event="consuming", times=2)
    gate.open()
    (stale,) = await worker.logged(event="task", settled=False)
    assert stale["task_id"] == "id-1"
    await worker.logged(event="task", status="done", settled=True, times=2)
    assert worker.metric("taskqueue_worker_ack_failed_total") == 1
    assert worker.metric("taskqueue_worker_reconnects_total") >= 1
    assert [line["task_id"] for line in worker.lines(event="task", settled=True, redelivered=True)].count("id-1") == 1
    await work.has_ready(0)


@pytest.mark.fault
async def test_a_broker_that_restarts_finds_its_worker_again(broker: Broker, start: StartWorker) -> None:

    connection = await aio_pika.connect(broker.url)
    work = await Work(await connection.channel(), f"worker-{uuid4().hex[:8]}", "quorum").declare()
    worker = start(queues=work.name)
    await worker.logged(event="consuming")
    await connection.close()
    broker.stop()
    await worker.logged(event="not connected")
    assert worker.get("/readyz")[0] == 503
    broker.start()
    await worker.logged(event="connected", times=2)
    connection = await aio_pika.connect(broker.url)
    work = Work(await connection.channel(), work.name, "quorum")
    await work.put(n=1)
    await worker.wrote("finished 1 draining=False")
    await connection.close()


async def test_a_queue_that_is_deleted_and_made_again_is_consumed_again(start: StartWorker, work: Work) -> None:
    worker = start(queues=work.name)
    await worker.logged(event="consuming")
    await work.delete()
    await worker.logged(event="not consuming", queue=work.name)
    assert worker.get("/readyz")[0] == 503
    await work.declare()
    await worker.logged(event="consuming", times=2)
    await work.put(n=1)
    await worker.wrote("finished 1 draining=False")
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


async def test_a_missing_queue_is_waited_for_and_never_declared(
    management: httpx.Client, start: StartWorker, make_work: MakeWork
) -> None:
    there, missing = await make_work(), Work((await make_work()).channel, f"late-{uuid4().hex[:8]}", "quorum")
    worker = start(queues=f"{there.name},{missing.name}")
    (line, *_) = await worker.logged(event="not consuming", queue=missing.name, times=2)
    assert "NOT_FOUND" in line["reason"]
    queues = await asyncio.to_thread(lambda: management.get("/api/queues").json())
    assert missing.name not in {queue["name"] for queue in queues}
    await there.put(n=1)
    await worker.wrote("finished 1 draining=False")
    assert worker.get("/readyz")[0] == 503
    await missing.declare()
    await missing.put(n=2)
    await worker.wrote("finished 2 draining=False")
    assert worker.get("/readyz")[0] == 200


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        # A round of 100 s for what may run still, 2 before the last prefetched message is done, and a minute.
        ("quorum", {"x-consumer-timeout": 360_000}),
        # RabbitMQ 4.3 refuses the argument for classic queues, which never time out there.
        ("classic", {}),
    ],
)
async def test_the_broker_is_told_how_long_a_message_may_take(
    start: StartWorker, make_work: MakeWork, kind: str, arguments: dict[str, int]
) -> None:
    work = await make_work(kind)
    worker = start(queues=work.name, concurrency="2", prefetch="3", task_timeout_seconds="100")
    (line,) = await worker.logged(event="consuming")
    assert line["arguments"] == arguments
    await work.put(n=1)
    await worker.wrote("finished 1 draining=False")


async def test_a_consumer_that_timed_out_leaves_nothing_behind_that_swallows_messages(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put(n=1, gate=str(gate))
    await work.put(n=2)
    worker = start(queues=work.name, modules="impatient_tasks,ledger_tasks")
    await worker.logged(event="not consuming")
    await worker.logged(event="consuming", times=2)
    gate.open()
    (line,) = await worker.logged(event="task", task_id="id-2")
    assert line["redelivered"] is False, "it went to the new consumer at once, not by way of the old one"
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


def bind(directory: Path, **files: str) -> None:
    """Swap the files of a mounted Secret as the kubelet does."""
    snapshot = directory / f"..{uuid4().hex}"
    snapshot.mkdir(parents=True)
    for key, text in files.items():
        (snapshot / key).write_text(text)
        if not (directory / key).is_symlink():
            (directory / key).symlink_to(Path("..data") / key)
    fresh = directory / "..data_tmp"
    fresh.symlink_to(snapshot.name)
    fresh.rename(directory / "..data")


@pytest.mark.parametrize("form", ["uri", "keys"])
async def test_a_rotated_secret_is_used_at_the_next_connect_and_no_password_is_logged(
    broker: Broker, management: httpx.Client, start: StartWorker, tmp_path: Path, form: str
) -> None:
    user, vhost, secret = f"u/{uuid4().hex[:8]}", f"v/{uuid4().hex[:8]} ü", f"{WEIRD}{uuid4().hex}"
    broker.ctl("add_user", "--", user, "first-password")
    broker.ctl("add_vhost", "--", vhost)
    broker.ctl("set_permissions", "-p", vhost, "--", user, "^$", ".*", ".*")

    def files(password: str) -> dict[str, str]:
        if form == "uri":
            login = f"{quote(user, safe='')}:{quote(password, safe='')}"
            return {"uri": f"amqp://{login}@127.0.0.1:{broker.amqp_port}/elsewhere\n"}
        return {"host": "127.0.0.1", "port": str(broker.amqp_port), "username": user, "password": password + "\n"}

    bind(tmp_path / "bindings/broker", **files("first-password"))
    worker = start(
        RABBITMQ_URL="", SERVICE_BINDING_ROOT=str(tmp_path / "bindings"), vhost=vhost, queues="not-there-yet"
    )
    await worker.logged(event="connected")

    broker.ctl("change_password", "--", user, secret)
    await cut(management, worker)
    await worker.logged(event="not connected", times=2)
    assert any("ACCESS_REFUSED" in line["reason"] for line in worker.lines(event="not connected"))

    bind(tmp_path / "bindings/broker", **files(secret))
    await worker.logged(event="connected", times=2)
    worker.terminate()
    assert await worker.exit_code() == 0
    for text in ("first-password", secret, quote(secret, safe=""), WEIRD):
        assert text not in worker.output
    broker.ctl("delete_user", "--", user)
    broker.ctl("delete_vhost", "--", vhost)


async def test_a_wrong_vhost_is_named(start: StartWorker) -> None:
    worker = start(vhost="no such vhost", queues="q")
    (line, *_) = await worker.logged(event="not connected")
    assert line["reason"] == ("The broker refused vhost 'no such vhost': it does not exist, or 'guest' may not use it.")


async def test_tls_is_verified_with_the_certificate_of_the_binding(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, start: StartWorker
) -> None:
    with Broker.start(tmp_path_factory.mktemp("tls"), tls=True) as secure:
        binding = tmp_path / "bindings/broker"
        binding.mkdir(parents=True)
        (binding / "uri").write_text(secure.url)
        secure.ctl("eval", 'rabbit_amqqueue:declare({resource,<<"/">>,queue,<<"q">>}, true, false, [], none, <<"x">>).')
        worker = start(RABBITMQ_URL="", SERVICE_BINDING_ROOT=str(tmp_path / "bindings"), queues="q")
        (line, *_) = await worker.logged(event="not connected")
        assert "CERTIFICATE_VERIFY_FAILED" in line["reason"]
        shutil.copy(secure.ca_file, binding / "ca.crt")
        await worker.logged(event="consuming", queue="q")
