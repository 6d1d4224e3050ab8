"""The sample of a web application, by a real server, broker, Redis and worker."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
import pytest
import yaml

from taskqueue_worker.stores import RedisStore
from tests.cluster import ports
from tests.cluster.broker import Broker
from tests.cluster.packages import installed
from tests.cluster.store_server import Redis
from tests.idle_connections import KEEP_BRIEFLY
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.running_worker import SOURCE, RunningWorker

SAMPLE = Path(__file__).parents[3] / "deploy/samples/web"
WEB = Path(__file__).parent / "web.txt"
REPORT = {"title": "Sales", "pages": 2}


async def prepare(queue: DeclaredQueue) -> None:
    """Make the exchange of the TaskQueue, as the operator does."""
    exchange = await queue.channel.declare_exchange(queue.name, durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange, queue.name)


def environment(broker_url: str, redis_url: str, queue: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "RABBITMQ_URL": broker_url,
        "REDIS_URL": redis_url,
        "REPORTS_TASKQUEUE": queue,
        "MOST_STREAMS_OF_A_CLIENT": "1",
        "BODY_SECONDS": "1",
    }


def command(port: int) -> list[str]:
    """Return the command of the container, on a port of the loopback."""
    deployment, _ = yaml.safe_load_all((SAMPLE / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in container["env"]} == {"RABBITMQ_URL", "REDIS_URL"}
    own = {"8000": str(port), "0.0.0.0": "127.0.0.1"}  # noqa: S104 - of the container
    return [own.get(part, part) for part in container["command"]]


@asynccontextmanager
async def served(variables: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application until the end of the test."""
    (port,) = ports.free(1)
    packages = f"{installed(WEB)}{os.pathsep}{SOURCE}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command(port)),
        cwd=SAMPLE,
        env={**variables, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=KEEP_BRIEFLY) as client:

            async def answers() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/readyz")).status_code in {200, 503}
                return False

            await eventually("the server", answers)
            yield client
    finally:
        process.terminate()
        await process.wait()


def start(start_worker: StartWorker, variables: dict[str, str]) -> RunningWorker:
    path = f"{SOURCE}{os.pathsep}{SAMPLE}"
    more = {name: value for name, value in variables.items() if name != "PATH"}
    return start_worker(queues=variables["REPORTS_TASKQUEUE"], modules="tasks", PYTHONPATH=path, **more)


async def state_of(client: httpx.AsyncClient, location: str) -> str:
    response = await client.get(location)
    return str(response.json().get("state", response.status_code))


async def events(client: httpx.AsyncClient, location: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield the id and the data of each event."""
    async with client.stream("GET", f"{location}/events") as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        identity = ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                identity = value
            if name == "data":
                data = json.loads(value)
            if not line and identity:
                yield identity, data
                identity = ""


@pytest.fixture
async def variables(broker: Broker, redis_server: Redis, queue: DeclaredQueue) -> dict[str, str]:
    await prepare(queue)
    return environment(broker.url, redis_server.url, queue.name)


@pytest.fixture
async def client(variables: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with served(variables) as client:
        yield client


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that no other test misses."""
    with Broker.start(tmp_path_factory.mktemp("own")) as broker:
        yield broker


async def test_a_client_sees_its_task_from_the_queue_to_the_result(
    client: httpx.AsyncClient, variables: dict[str, str], start_worker: StartWorker, redis_server: Redis
) -> None:
    async def is_ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await eventually("ready", is_ready)
    accepted = await client.post("/tasks", json={"title": "Sales", "pages": 40})
    location = accepted.headers["Location"]
    assert (accepted.status_code, location) == (202, f"/tasks/{accepted.json()['id']}")
    assert await state_of(client, location) == "queued"
    seen: list[tuple[str, dict[str, Any]]] = []
    async for identity, shown in events(client, location):
        if not seen:
            start(start_worker, variables)
        seen.append((identity, shown))
    assert [seen[0][1]["state"], seen[-1][1]["state"]] == ["queued", "done"]
    assert any(shown["state"] == "running" and 0 < (shown["progress"] or 0) < 1 for _, shown in seen)
    assert seen[-1][1]["result"] == {"title": "Sales", "pages": 40}
    assert (await client.get(location)).json() == seen[-1][1]
    again = await client.get(f"{location}/events", headers={"Last-Event-ID": seen[-1][0]})
    assert again.status_code == 204, "a browser does not open the stream again"
    store = RedisStore(redis_server.url)
    await store.run("return redis.call('DEL', KEYS[1])", [f"task:{accepted.json()['id']}"], [])
    await store.close()
    assert await state_of(client, location) == "410"
    assert await state_of(client, f"/tasks/{uuid4()}") == "404"


async def test_a_client_that_leaves_its_stream_gives_its_place_back(client: httpx.AsyncClient) -> None:
    location = (await client.post("/tasks", json=REPORT)).headers["Location"]
    async with client.stream("GET", f"{location}/events") as stream:
        await anext(stream.aiter_lines())
        refused = await client.get(f"{location}/events")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")

    async def has_a_place() -> bool:
        async with client.stream("GET", f"{location}/events") as stream:
            return stream.status_code == 200

    await eventually("a place", has_a_place)


@pytest.mark.fault
async def test_a_task_that_a_client_sends_until_the_broker_is_back_is_accepted_once(
    own_broker: Broker, redis_server: Redis, start_worker: StartWorker
) -> None:
    name = f"reports-{uuid4().hex[:8]}"
    async with await aio_pika.connect(own_broker.url) as connection:
        await prepare(await DeclaredQueue(await connection.channel(), name).declare())
    variables = environment(own_broker.url, redis_server.url, name)
    worker = start(start_worker, variables)
    async with served(variables) as client:

        async def send(key: str) -> httpx.Response:
            return await client.post("/tasks", json=REPORT, headers={"Idempotency-Key": key})

        async def is_done_once(key: str) -> None:
            async def is_accepted() -> bool:
                return (response := await send(key)).status_code == 202 and response.json() == {"id": key}

            async def is_done() -> bool:
                return await state_of(client, f"/tasks/{key}") == "done"

            await eventually("accepted", is_accepted)
            await eventually("done", is_done)
            assert (await send(key)).status_code == 202
            await worker.wait_for_log(event="task", status="done", task_id=key)

        await is_done_once(str(uuid4()))
        own_broker.stop()
        stopped = str(uuid4())
        refused = await send(stopped)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.json()["id"] == stopped
        assert await state_of(client, f"/tasks/{stopped}") == "404", "nothing is half accepted"
        assert (await client.get("/readyz")).status_code == 200, "it answers, so it stays in its Service"
        own_broker.start()
        await is_done_once(stopped)
        own_broker.pause()
        paused = str(uuid4())
        unknown = await send(paused)
        own_broker.resume()
        assert unknown.status_code == 503
        await is_done_once(paused)
        async with await aio_pika.connect(own_broker.url) as connection:
            await DeclaredQueue(await connection.channel(), name).wait_for_ready(0)
        assert len(worker.lines(event="task", status="done")) == 3


async def test_a_process_that_has_never_reached_its_broker_is_not_ready_and_accepts_nothing(
    redis_server: Redis,
) -> None:
    async with served(environment("amqp://127.0.0.1:1/", redis_server.url, "reports")) as client:
        assert (await client.post("/tasks", json=REPORT)).status_code == 503
        assert (await client.get("/readyz")).status_code == 503


@pytest.mark.fault
async def test_nothing_is_published_while_redis_does_not_answer(
    client: httpx.AsyncClient, redis_server: Redis, queue: DeclaredQueue
) -> None:
    location = (await client.post("/tasks", json=REPORT)).headers["Location"]
    redis_server.pause()
    try:
        responses = [await client.post("/tasks", json=REPORT), await client.get(location)]
    finally:
        redis_server.resume()
    assert [(response.status_code, response.headers["Retry-After"]) for response in responses] == [(503, "5")] * 2
    assert responses[0].json()["id"], "what the client sends the request again with"
    assert await queue.ready() == 1


async def test_hostile_requests_are_refused_with_the_reason_and_publish_nothing(
    client: httpx.AsyncClient, queue: DeclaredQueue
) -> None:
    refused = {
        b"x" * 20_000: 413,
        b"[" * 16_000: 422,
        b'{"title": "' + b'\xff"}': 422,
        b'{"title": "a", "pages": 1e400}': 422,
        b'{"title": "a", "pages": 1, "user": "root"}': 422,
        b"": 422,
    }
    for body, status in refused.items():
        assert (await client.post("/tasks", content=body)).status_code == status, body[:50]
    unnamed = await client.post("/tasks", json={"title": "a", "pages": 1001})
    assert unnamed.json()["detail"][0]["loc"] == ["pages"]
    document = (await client.get("/openapi.json")).json()
    assert "requestBody" in document["paths"]["/tasks"]["post"]

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    assert (await client.post("/tasks", content=chunks())).status_code == 413
    assert (await client.post("/tasks", json=REPORT, headers={"Idempotency-Key": "guess"})).status_code == 422
    assert (await client.get("/tasks/1")).status_code == 422
    assert await queue.ready() == 0


async def test_a_body_that_does_not_arrive_is_refused(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /tasks HTTP/1.1\r\nHost: reports\r\nContent-Length: 100\r\n\r\n{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
