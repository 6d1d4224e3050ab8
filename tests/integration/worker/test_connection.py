"""Loss of the connection, of the queue and of the consumer; rotated credentials; TLS."""

import asyncio
import shutil
import ssl
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.gate import Gate

SPECIAL_CHARACTERS = "p@ss/w%20rd:?#&+=ü "


@pytest.mark.fault
async def test_a_worker_reconnects_after_its_connection_is_closed_runs_the_rest_and_repeats_no_task_that_has_ended(
    management: httpx.Client, start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    await queue.publish(n=2)
    worker = start_worker(queues=queue.name, prefetch="2")
    await worker.wait_for_ledger("started 1")
    await api.close_connections(management, worker.taskqueue)
    await worker.wait_for_log(event="not connected")
    assert worker.ledger == ["started 1"], "the prefetched message is lost with the connection"
    await worker.wait_for_log(event="consuming", times=2)
    gate.open()
    (unsettled,) = await worker.wait_for_log(event="task", settled=False)
    assert unsettled["task_id"] == "id-1"
    await worker.wait_for_log(event="settled at redelivery", task_id="id-1", settled=True)
    await worker.wait_for_log(event="task", status="done", settled=True, task_id="id-2")
    assert worker.metric("taskqueue_worker_ack_failed_total") == 1
    assert worker.metric("taskqueue_worker_reconnects_total") >= 1
    assert worker.started == ["started 1", "started 2"]
    await queue.wait_for_ready(0)


@pytest.mark.fault
async def test_a_worker_consumes_again_after_a_restart_of_the_broker(broker: Broker, start_worker: StartWorker) -> None:
    name = f"worker-{uuid4().hex[:8]}"
    async with await aio_pika.connect(broker.url) as connection:
        await DeclaredQueue(await connection.channel(), name).declare()
    worker = start_worker(queues=name, modules="short_periods,ledger_tasks")
    await worker.wait_for_log(event="consuming")
    broker.stop()
    await worker.wait_for_log(event="not connected")
    assert worker.get("/readyz")[0] == 503
    broker.start()
    await worker.wait_for_log(event="connected", times=2)
    async with await aio_pika.connect(broker.url) as connection:
        await DeclaredQueue(await connection.channel(), name).publish(n=1)
        await worker.wait_for_ledger("finished 1 draining=False")


async def test_a_queue_that_is_deleted_and_declared_again_is_consumed_again(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    worker = start_worker(queues=queue.name)
    await worker.wait_for_log(event="consuming")
    await queue.delete()
    await worker.wait_for_log(event="not consuming", queue=queue.name)
    assert worker.get("/readyz")[0] == 503
    await queue.declare()
    await worker.wait_for_log(event="consuming", times=2)
    await queue.publish(n=1)
    await worker.wait_for_ledger("finished 1 draining=False")
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


async def test_a_missing_queue_is_retried_and_never_declared(
    management: httpx.Client, start_worker: StartWorker, declare_queue: DeclareQueue
) -> None:
    existing = await declare_queue()
    missing = DeclaredQueue(existing.channel, f"missing-{uuid4().hex[:8]}")
    worker = start_worker(queues=f"{existing.name},{missing.name}")
    (line, *_) = await worker.wait_for_log(event="not consuming", queue=missing.name, times=2)
    assert "NOT_FOUND" in line["reason"]
    queues = await asyncio.to_thread(lambda: management.get("/api/queues").json())
    assert missing.name not in {queue["name"] for queue in queues}
    await existing.publish(n=1)
    await worker.wait_for_ledger("finished 1 draining=False")
    assert worker.get("/readyz")[0] == 503
    await missing.declare()
    await missing.publish(n=2)
    await worker.wait_for_ledger("finished 2 draining=False")
    assert worker.get("/readyz")[0] == 200


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        # 100 s for tasks from before an undrain, 2 x 100 s until the last prefetched message is done, and a minute.
        ("quorum", {"x-consumer-timeout": 360_000}),
        # RabbitMQ 4.3 refuses the argument for classic queues, which never time out there.
        ("classic", {}),
    ],
)
async def test_the_consumer_has_the_consumer_timeout_where_the_broker_supports_it(
    start_worker: StartWorker, declare_queue: DeclareQueue, kind: str, arguments: dict[str, int]
) -> None:
    queue = await declare_queue(kind)
    worker = start_worker(queues=queue.name, concurrency="2", prefetch="3", task_timeout_seconds="100")
    (line,) = await worker.wait_for_log(event="consuming")
    assert line["arguments"] == arguments
    await queue.publish(n=1)
    await worker.wait_for_ledger("finished 1 draining=False")


async def test_after_a_consumer_timeout_the_old_consumer_receives_no_message(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    await queue.publish(n=2)
    worker = start_worker(queues=queue.name, modules="short_consumer_timeout,ledger_tasks")
    await worker.wait_for_log(event="not consuming")
    await worker.wait_for_log(event="consuming", times=2)
    gate.open()
    (line,) = await worker.wait_for_log(event="task", task_id="id-2")
    assert line["redelivered"] is False, "the new consumer received it first"
    assert worker.metric("taskqueue_worker_reconnects_total") == 0


async def test_after_a_consumer_timeout_another_worker_is_the_single_active_consumer(
    start_worker: StartWorker, channel: AbstractChannel, gate: Gate
) -> None:
    """RabbitMQ keeps a consumer that has timed out, and delivers nothing to it: it must not stay the active one."""
    name = f"worker-{uuid4().hex[:8]}"
    queue = await DeclaredQueue(channel, name).declare({"x-single-active-consumer": True})
    await queue.publish(n=1, gate=str(gate))
    variables = {"queues": queue.name, "concurrency": "2", "modules": "short_consumer_timeout,ledger_tasks"}
    active = start_worker(**variables)
    await active.wait_for_ledger("started 1")
    waiting = start_worker(**variables)
    await waiting.wait_for_log(event="consuming")
    await active.wait_for_log(event="not consuming")
    await queue.publish(n=2)
    await waiting.wait_for_log(event="task", task_id="id-2", status="done")
    gate.open()
    await queue.wait_for_ready(0)


def mount_secret(directory: Path, **files: str) -> None:
    """Replace the files of a mounted Secret as the kubelet does."""
    snapshot = directory / f"..{uuid4().hex}"
    snapshot.mkdir(parents=True)
    for key, text in files.items():
        (snapshot / key).write_text(text)
        if not (directory / key).is_symlink():
            (directory / key).symlink_to(Path("..data") / key)
    link = directory / "..data_tmp"
    link.symlink_to(snapshot.name)
    link.rename(directory / "..data")


@pytest.mark.parametrize("form", ["uri", "keys"])
async def test_a_rotated_secret_is_used_from_the_next_connect_on_and_no_password_is_logged(
    broker: Broker, management: httpx.Client, start_worker: StartWorker, tmp_path: Path, form: str
) -> None:
    user, vhost = f"u/{uuid4().hex[:8]}", f"v/{uuid4().hex[:8]} ü"
    rotated = f"{SPECIAL_CHARACTERS}{uuid4().hex}"
    api.put_user(management, user, "first-password")
    api.put_vhost(management, vhost)
    api.put_permissions(management, user, vhost, {"configure": "^$", "write": ".*", "read": ".*"})

    def files(password: str) -> dict[str, str]:
        if form == "uri":
            login = f"{quote(user, safe='')}:{quote(password, safe='')}"
            return {"uri": f"amqp://{login}@127.0.0.1:{broker.amqp_port}/elsewhere\n"}
        return {"host": "127.0.0.1", "port": str(broker.amqp_port), "username": user, "password": password + "\n"}

    mount_secret(tmp_path / "bindings/broker", **files("first-password"))
    worker = start_worker(
        RABBITMQ_URL="",
        SERVICE_BINDING_ROOT=str(tmp_path / "bindings"),
        vhost=vhost,
        queues="missing",
        modules="short_periods,ledger_tasks",
    )
    await worker.wait_for_log(event="connected")

    api.put_user(management, user, rotated)
    await api.close_connections(management, worker.taskqueue)
    await worker.wait_for_log(event="not connected")
    await worker.wait_for_log(event="not connected", times=2)
    assert any("ACCESS_REFUSED" in line["reason"] for line in worker.lines(event="not connected"))

    mount_secret(tmp_path / "bindings/broker", **files(rotated))
    await worker.wait_for_log(event="connected", times=2)
    worker.terminate()
    assert await worker.exit_code() == 0
    for text in ("first-password", rotated, quote(rotated, safe=""), SPECIAL_CHARACTERS):
        assert text not in worker.output
    api.delete_user(management, user)
    api.delete_vhost(management, vhost)


async def test_a_wrong_vhost_is_named_in_the_log(start_worker: StartWorker) -> None:
    worker = start_worker(vhost="no such vhost", queues="q")
    (line, *_) = await worker.wait_for_log(event="not connected")
    assert "'no such vhost'" in line["reason"]
    assert "'guest'" in line["reason"]


async def test_the_server_certificate_is_verified_with_the_ca_of_the_binding(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, start_worker: StartWorker
) -> None:
    with Broker.start(tmp_path_factory.mktemp("tls"), tls=True) as secure:
        binding = tmp_path / "bindings/broker"
        binding.mkdir(parents=True)
        (binding / "uri").write_text(secure.url)
        trusted = ssl.create_default_context(cafile=secure.ca_file)
        async with await aio_pika.connect(secure.url, ssl_context=trusted) as connection:
            await (await connection.channel()).declare_queue("q", durable=True)
        worker = start_worker(RABBITMQ_URL="", SERVICE_BINDING_ROOT=str(tmp_path / "bindings"), queues="q")
        (line, *_) = await worker.wait_for_log(event="not connected")
        assert "CERTIFICATE_VERIFY_FAILED" in line["reason"]
        shutil.copy(secure.ca_file, binding / "ca.crt")
        await worker.wait_for_log(event="consuming", queue="q")
