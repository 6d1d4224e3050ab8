"""Each example of docs/worker.md does what its section says."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika import Message
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cluster.store_server import PostgreSQL, Redis
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.guide import sections, write_example
from tests.integration.worker.http_service import HttpService
from tests.integration.worker.management_api import connections
from tests.integration.worker.retry_path import declare_retry_path


@pytest.fixture
async def retrying(queue: DeclaredQueue) -> DeclaredQueue:
    await declare_retry_path(queue)
    return queue


async def test_the_first_example(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, modules=write_example("", tmp_path))
    await queue.publish("image.resize", image="cat.png")
    await worker.wait_for_log(event="resized", image="cat.png", type="image.resize")


async def test_outcomes(start_worker: StartWorker, retrying: DeclaredQueue, tmp_path: Path) -> None:
    modules = write_example("Outcomes", tmp_path)
    worker = start_worker(queues=retrying.name, modules=modules, retry_initial_seconds="1")
    await retrying.publish("email.send", to="a", server="in maintenance")
    await retrying.publish("email.send", to="a", server="busy")
    await retrying.publish("email.send", to="a")
    await retrying.publish("email.send")
    for status, expected in {"requeued": 2, "failed": 2, "done": 1, "rejected": 1}.items():
        lines = await worker.wait_for_log(times=expected, event="task", status=status)
        assert {line["attempt"] for line in lines} == ({1, 2} if status == "failed" else {1})
    letter = await retrying.get(retrying.dead_letters)
    assert letter.headers["x-failure-text"] == "the payload has no recipient"


async def test_typed_payloads(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, modules=write_example("Typed payloads", tmp_path))
    await queue.publish("newsletter.send", subject="News", recipients=[{}])
    letter = await queue.get(queue.dead_letters)
    assert letter.headers["x-failure-reason"] == "invalid_payload"
    assert letter.headers["x-failure-text"] == "payload.recipients[0].email: Field required."
    await queue.publish("newsletter.send", subject="News", recipients=[{"email": "ada@example.com"}])
    await worker.wait_for_log(event="task", status="done")
    assert "ada@example.com" in worker.output


async def test_lifespan(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    called = asyncio.Queue[object]()

    async def webhook(request: web.Request) -> web.Response:
        called.put_nowait(await request.json())
        return web.Response()

    application = web.Application()
    application.router.add_post("/", webhook)
    async with TestServer(application) as server:
        start_worker(queues=queue.name, modules=write_example("Lifespan", tmp_path))
        await queue.publish("webhook.call", url=str(server.make_url("/")), event="paid")
        assert await called.get() == "paid"


async def test_timeouts_and_retries(start_worker: StartWorker, retrying: DeclaredQueue, tmp_path: Path) -> None:
    modules = write_example("Timeouts and retries of a task", tmp_path)
    worker = start_worker(queues=retrying.name, modules=modules, retry_initial_seconds="600", max_attempts="2")
    await retrying.publish("crm.sync", customer="unknown")
    letter = await retrying.get(retrying.dead_letters)
    assert (letter.headers["x-attempt"], letter.headers["x-failure-class"]) == (1, "ValueError")
    await retrying.publish("crm.sync", customer="acme")
    letter = await retrying.get(retrying.dead_letters)
    assert (letter.headers["x-attempt"], letter.headers["x-failure-class"]) == (4, "example.RateLimitedError")
    assert all(line["delay_seconds"] <= 0.8 for line in worker.lines(event="retry stored"))


async def test_versions(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, modules=write_example("Versions of a payload", tmp_path))
    for version, body in {1: b'{"id": 11}', 2: b'{"number": 22}', 3: b"{}"}.items():
        headers: dict[str, aio_pika.abc.FieldValue] = {"x-version": version}
        message = aio_pika.Message(body, type="invoice.print", headers=headers)
        await queue.channel.default_exchange.publish(message, queue.name)
    letter = await queue.get(queue.dead_letters)
    assert (letter.headers["x-failure-reason"], letter.headers["x-version"]) == ("unknown_version", 3)
    await worker.wait_for_log(times=2, event="task", status="done")
    assert "invoice 11" in worker.output
    assert "invoice 22" in worker.output


async def test_publishing_from_a_task(
    start_worker: StartWorker, queue: DeclaredQueue, management: httpx.Client, tmp_path: Path
) -> None:
    modules = write_example("Publishing from a task", tmp_path)
    worker = start_worker(queues=queue.name, modules=modules)
    payload = {"order": 7, "ship_at": queue.name, "report_to": queue.dead_letters}
    trace: dict[str, aio_pika.abc.FieldValue] = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tenant": "acme"}
    message = aio_pika.Message(json.dumps(payload).encode(), type="order.pay", message_id="pay-7", headers=trace)
    await queue.channel.default_exchange.publish(message, queue.name)
    published = await queue.get(queue.dead_letters)
    assert (published.type, published.correlation_id, published.priority) == ("order.shipped", "pay-7", 3)
    assert (json.loads(published.body), published.headers) == ({"order": 7}, {"traceparent": trace["traceparent"]})
    name = f"{worker.taskqueue} tasks"
    await eventually(f"connection {name}", lambda: bool(connections(management, name)))
    assert len(connections(management, name)) == 1, "of both handlers"


async def test_middleware(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, modules=write_example("Middleware", tmp_path))
    await queue.publish("report.build", seconds=0.1)
    (line,) = await worker.wait_for_log(event="measured", type="report.build")
    assert line["seconds"] >= 0.1


async def test_idempotency(
    start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path, redis_server: Redis
) -> None:
    modules = write_example("Idempotency", tmp_path)
    worker = start_worker(queues=queue.name, modules=modules, REDIS_URL=redis_server.url)
    for n in range(2):
        await queue.publish("invoice.pay", n=n, invoice=queue.name)
    await worker.wait_for_log(event="task", status="duplicate")
    assert len(worker.lines(event="paid", invoice=queue.name)) == 1


async def test_idempotency_in_one_transaction(
    start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path, postgres_server: PostgreSQL
) -> None:
    database = await asyncpg.connect(postgres_server.url)
    await database.execute("CREATE TABLE orders (number text)")
    modules = write_example("Idempotency in one transaction", tmp_path)
    worker = start_worker(queues=queue.name, modules=modules, POSTGRES_URL=postgres_server.url)
    for _ in range(2):
        await queue.publish("order.book", n=queue.name, order="A1")
    await worker.wait_for_log(event="task", status="duplicate")
    assert await database.fetchval("SELECT count(*) FROM orders") == 1
    await database.close()


async def test_rates(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path, redis_server: Redis) -> None:
    modules = write_example("Rates", tmp_path)
    worker = start_worker(queues=queue.name, modules=modules, concurrency="4", REDIS_URL=redis_server.url)
    for n in range(3):
        await queue.publish("report.render", n=n)
        await queue.publish("sms.send", n=n)
    await worker.wait_for_log(times=3, event="rendered")
    await worker.wait_for_log(times=3, event="sent")


async def test_status(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path, redis_server: Redis) -> None:
    task_id = f"id-{queue.name}"
    program = sections()["Status for a web application"][0]
    application: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDIS_URL", redis_server.url)
        exec(compile(program, "application", "exec"), application)  # noqa: S102 - the example of the guide
    assert await application["status"](task_id) is None
    await application["announce"](task_id)
    await queue.publish("book.index", n=queue.name, pages=3)
    modules = write_example("Status and results", tmp_path)
    worker = start_worker(queues=queue.name, modules=modules, REDIS_URL=redis_server.url)
    seen = [line async for line in application["progress"](task_id)]
    assert (seen[0], seen[-1]) == ("queued: None", "done: 1.0")
    assert (await application["status"](task_id)).result == {"pages": 3}
    assert [line["page"] for line in worker.lines(event="indexed")] == [0, 1, 2]
    await application["store"].close()


async def test_cpu_work(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, modules=write_example("CPU work and careless code", tmp_path))
    await queue.publish("primes.count", below=100)
    await worker.wait_for_log(event="counted", below=100, count=25, type="primes.count", attempt=1)
    assert worker.metric("taskqueue_worker_children") == 1


async def test_tracing(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    worker = start_worker(queues=queue.name, modules=write_example("Tracing", tmp_path))
    message = Message(
        b'{"invoice": 7}', type="invoice.send", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )
    await queue.channel.default_exchange.publish(message, queue.name)
    (line,) = await worker.wait_for_log(event="sent", invoice=7)
    assert line["trace_id"] == trace
    assert line["span_id"]


async def test_batches(start_worker: StartWorker, queue: DeclaredQueue, tmp_path: Path) -> None:
    worker = start_worker(queues=queue.name, concurrency="3", modules=write_example("Batches", tmp_path))
    for row in ({"id": 1}, {}, {"id": 2}):
        await queue.publish("row.insert", body=json.dumps(row).encode(), content_type="application/json")
    await worker.wait_for_log(event="inserted", rows=2, type="row.insert", batch=3)
    letter = await queue.get(queue.dead_letters)
    assert letter.headers["x-failure-text"] == "the row has no id"
    await worker.wait_for_log(event="task", status="done", times=2)


async def test_circuit_breaker(start_worker: StartWorker, retrying: DeclaredQueue, tmp_path: Path) -> None:
    service = HttpService()
    service.stop()
    modules = write_example("Circuit breaker", tmp_path)
    worker = start_worker(queues=retrying.name, modules=modules, retry_initial_seconds="1", prefetch="4")
    for order in range(8):
        await retrying.publish("order.charge", url=service.url, order=order)
    await worker.wait_for_log(event="breaker open", breaker="payments")
    await retrying.publish("order.confirm", url=service.url, order=1)
    await worker.wait_for_log(event="confirmed without payment", order=1)
    assert worker.metric('taskqueue_worker_breaker_state{breaker="payments"}') > 0
    service.start()
    await worker.wait_for_log(times=8, event="task", type="order.charge", status="done")
    service.stop()
    assert 3 <= len(worker.lines(event="task", type="order.charge", status="failed")) < 8
    assert worker.lines(event="task", type="order.charge", status="requeued", attempt=1)
    await worker.wait_for_log(event="breaker closed")
    assert worker.metric('taskqueue_worker_breaker_state{breaker="payments"}') == 0
