"""The publisher of code that is not asynchronous: threads, forks, and a broker that is away."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from taskqueue_drain import broker as broker_settings
from taskqueue_worker import PublishFailedError, SyncPublisher, UnroutableError
from tests.cluster.broker import Broker
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.running_worker import SOURCE


@pytest.fixture
def name() -> str:
    """The name of the connection."""
    return f"web-{uuid4().hex[:8]}"


@pytest.fixture
def publisher(broker: Broker, name: str) -> Iterator[SyncPublisher]:
    with SyncPublisher(broker.url, name=name, timeout_seconds=5) as publisher:
        yield publisher


async def publish(publisher: SyncPublisher, queue: str, payload: object = None, message_id: str | None = None) -> str:
    """Publish as a thread of a web server does."""
    return await asyncio.to_thread(publisher.publish, "", queue, payload, type="work", message_id=message_id)


async def test_all_threads_share_one_connection(
    publisher: SyncPublisher, queue: DeclaredQueue, management: httpx.Client, name: str
) -> None:
    def request(n: int) -> str:
        return publisher.publish("", queue.name, n, type="work")

    with ThreadPoolExecutor(20) as threads:
        ids = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(threads, request, n) for n in range(400))
        )
    assert len(set(ids)) == 400
    await queue.wait_for_ready(400)
    await eventually("one connection", lambda: len(api.connections(management, name)) == 1)


async def test_errors_are_those_of_the_publisher_and_have_the_message_id(
    publisher: SyncPublisher, queue: DeclaredQueue
) -> None:
    with pytest.raises(UnroutableError) as unroutable:
        await publish(publisher, f"{queue.name}.no", message_id="mine")
    assert unroutable.value.message_id == "mine"
    with pytest.raises(TypeError, match="JSON serializable"):
        await publish(publisher, queue.name, object())
    with pytest.raises(TypeError, match="'kind'"):
        await asyncio.to_thread(publisher.publish, "", queue.name, {}, kind="work")  # type: ignore[call-arg]
    await publish(publisher, queue.name)


async def test_a_closed_publisher_connects_again(publisher: SyncPublisher, queue: DeclaredQueue) -> None:
    for _ in range(2):
        await publish(publisher, queue.name)
        await asyncio.to_thread(publisher.close)
    await queue.wait_for_ready(2)


async def test_an_unconfirmed_message_is_an_error_with_the_message_id_that_makes_it_a_duplicate(
    broker: Broker, publisher: SyncPublisher, queue: DeclaredQueue
) -> None:
    await publish(publisher, queue.name)
    quick = SyncPublisher(broker.url, timeout_seconds=1)
    await publish(quick, queue.name)
    broker.pause()
    try:
        with pytest.raises(PublishFailedError, match="within 1 s") as unknown:
            await publish(quick, queue.name)
    finally:
        broker.resume()
    message_id = unknown.value.message_id
    assert message_id is not None
    assert await publish(publisher, queue.name, message_id=message_id) == message_id
    await asyncio.to_thread(quick.close)


async def test_without_a_broker_each_publish_is_an_error_and_the_next_one_connects(
    publisher: SyncPublisher, queue: DeclaredQueue, management: httpx.Client, name: str
) -> None:
    away = SyncPublisher("amqp://guest:verysecret@127.0.0.1:1/", timeout_seconds=5)
    for _ in range(2):
        with pytest.raises(PublishFailedError) as error:
            await publish(away, queue.name)
        assert error.value.message_id
        assert "verysecret" not in str(error.value)
    await asyncio.to_thread(away.close)
    await publish(publisher, queue.name)
    await api.close_connections(management, name)

    async def published() -> bool:
        try:
            return bool(await publish(publisher, queue.name))
        except PublishFailedError:
            return False

    await eventually("a new connection", published)


async def test_heartbeats_are_answered_while_nothing_is_published(
    publisher: SyncPublisher,
    queue: DeclaredQueue,
    management: httpx.Client,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_settings, "HEARTBEAT_SECONDS", 1)  # the broker closes after 2 s without one
    await publish(publisher, queue.name)

    def received() -> int:
        return sum(int(connection.get("recv_cnt", 0)) for connection in api.connections(management, name))

    await eventually("statistics", received)
    before = received()
    await eventually("heartbeats", lambda: received() >= before + 3)
    await publish(publisher, queue.name)
    assert len(api.connections(management, name)) == 1


FORKS = """
import os, sys
from taskqueue_worker import SyncPublisher
url, queue, name = sys.argv[1:]
publisher = SyncPublisher(url, name=name, timeout_seconds=5)
publish = lambda who: publisher.publish("", queue, who, type="work", message_id=who)
publish("parent before")
child = os.fork()
if child == 0:
    publish("child")
    print("published", flush=True)
    sys.stdin.readline()
    sys.exit()  # with finalizers, as a gunicorn worker
publish("parent beside")
_, status = os.waitpid(child, 0)
publish("parent after")
print("ended", status, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
async def forking(broker: Broker, queue: DeclaredQueue, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has published, and its child that has published too."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-c", FORKS, broker.url, queue.name, name),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_a_forked_process_has_a_connection_of_its_own_and_leaves_the_one_of_its_parent_alone(
    forking: asyncio.subprocess.Process, queue: DeclaredQueue, management: httpx.Client, name: str
) -> None:
    assert forking.stdin is not None
    assert forking.stdout is not None
    assert forking.stderr is not None
    assert await forking.stdout.readline() == b"published\n"
    await eventually("two connections", lambda: len(api.connections(management, name)) == 2)
    both = {connection["name"] for connection in api.connections(management, name)}
    forking.stdin.write(b"\n")
    assert await forking.stdout.readline() == b"ended 0\n"
    await queue.wait_for_ready(4)
    await eventually("one connection", lambda: len(api.connections(management, name)) == 1)
    assert {connection["name"] for connection in api.connections(management, name)} < both
    forking.stdin.write(b"\n")
    assert (await forking.stderr.read(), await forking.wait()) == (b"", 0)
