"""Consumers of Plain workers as the broker lists them, and the activity that follows from it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote
from uuid import uuid4

import aiormq
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from taskqueue_operator.drain.consumers import Activity, Connection
from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.workers.api_objects import Pod
from tests.cluster.broker import Broker

from .conftest import PASSWORD, Connect, MakeUser

QUEUE = "celery / 1"


def pod(name: str = "celery-7d9c-x2x4z", *addresses: str) -> Pod:
    metadata = {"namespace": "media", "name": name, "uid": name, "resourceVersion": "1"}
    status = {"podIPs": [{"ip": address} for address in addresses]}
    return Pod.parse({"metadata": metadata, "status": status})


@pytest.fixture
def name() -> str:
    """That of a pod; no other connection to the broker has it."""
    return f"celery-{uuid4().hex[:10]}-x2x4z"


@pytest.fixture
async def queue(amqp: AbstractConnection) -> AbstractChannel:
    channel = await amqp.channel()
    await channel.queue_declare(QUEUE, durable=True)
    return channel


@asynccontextmanager
async def worker(
    broker: Broker, vhost: str, name: str = "", user: str = "guest:guest", *, no_ack: bool = False
) -> AsyncIterator[list[DeliveredMessage]]:
    """A plain client that takes one message at a time, and keeps it; `name` is that of its connection."""
    held: list[DeliveredMessage] = []
    url = f"amqp://{user}@127.0.0.1:{broker.amqp_port}/{quote(vhost, safe='')}?name={quote(name)}"
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel()
        await channel.basic_qos(prefetch_count=1)

        async def keep(message: DeliveredMessage) -> None:
            held.append(message)

        await channel.basic_consume(QUEUE, keep, no_ack=no_ack)
        yield held
    finally:
        await connection.close()


async def seen(rabbitmq: Vhost, pod: Pod, sight: Activity) -> None:
    """Look until the pod is seen so: figures are some seconds old."""
    async with asyncio.timeout(120):
        while True:
            if (await rabbitmq.consumers()).activities((QUEUE,), [pod]) == {pod.uid: sight}:
                return
            await asyncio.sleep(0.5)


async def shown(rabbitmq: Vhost, wanted: Callable[[Connection], bool]) -> Connection:
    async with asyncio.timeout(120):
        while True:
            for connection in (await rabbitmq.consumers()).connections:
                if wanted(connection):
                    return connection
            await asyncio.sleep(0.5)


@pytest.mark.usefixtures("queue")
async def test_a_consumer_is_matched_by_its_peer_address(broker: Broker, vhost: str, connect: Connect) -> None:
    rabbitmq, local, elsewhere = connect(), pod("a", "127.0.0.1"), pod("b", "127.0.0.2")
    async with worker(broker, vhost):
        await seen(rabbitmq, local, Activity.IDLE)
        sights = (await rabbitmq.consumers()).activities((QUEUE,), [local, elsewhere])
        assert sights == {"a": Activity.IDLE, "b": Activity.UNKNOWN}
    await seen(rabbitmq, local, Activity.UNKNOWN)


@pytest.mark.usefixtures("queue")
async def test_a_consumer_is_matched_by_its_connection_name(
    broker: Broker, vhost: str, connect: Connect, name: str
) -> None:
    async with worker(broker, vhost, f"celery@{name}: consumer"):
        await seen(connect(), pod(name), Activity.IDLE)


async def test_a_consumer_is_busy_until_its_message_is_acknowledged(
    broker: Broker, vhost: str, connect: Connect, queue: AbstractChannel, name: str
) -> None:
    rabbitmq = connect()
    async with worker(broker, vhost, name) as held:
        await seen(rabbitmq, pod(name), Activity.IDLE)
        await queue.basic_publish(b"{}", routing_key=QUEUE)
        await seen(rabbitmq, pod(name), Activity.BUSY)
        assert (await shown(rabbitmq, lambda connection: name in connection.identifiers)).unacked == 1
        await held[0].channel.basic_ack(held[0].delivery_tag or 0)
        await seen(rabbitmq, pod(name), Activity.IDLE)


@pytest.mark.usefixtures("queue")
async def test_another_connection_without_messages_does_not_affect_idleness(
    broker: Broker, vhost: str, connect: Connect, name: str
) -> None:
    rabbitmq = connect()
    url = f"amqp://guest:guest@127.0.0.1:{broker.amqp_port}/{quote(vhost, safe='')}?name=beside@{name}"
    beside = await aiormq.connect(url)
    try:
        async with worker(broker, vhost, name):
            await shown(rabbitmq, lambda connection: {"beside", name} <= connection.identifiers)
            await seen(rabbitmq, pod(name), Activity.IDLE)
    finally:
        await beside.close()


@pytest.mark.usefixtures("queue")
async def test_a_consumer_without_acknowledgements_is_unknown(
    broker: Broker, vhost: str, connect: Connect, name: str
) -> None:
    rabbitmq = connect()
    async with worker(broker, vhost, name, no_ack=True):
        connection = await shown(
            rabbitmq, lambda connection: name in connection.identifiers and QUEUE in connection.acknowledges
        )
        assert connection.acknowledges == {QUEUE: False}
        await seen(rabbitmq, pod(name), Activity.UNKNOWN)


@pytest.mark.usefixtures("queue")
async def test_reading_connections_of_another_user_needs_the_tag_monitoring(
    broker: Broker, vhost: str, connect: Connect, user: MakeUser, name: str
) -> None:
    workers, management, monitoring = user(""), user("management"), user("monitoring")
    async with worker(broker, vhost, name, f"{workers}:{quote(PASSWORD, safe='')}"):
        await seen(connect(username=monitoring, password=PASSWORD), pod(name), Activity.IDLE)
        look = await connect(username=management, password=PASSWORD).consumers()
        assert look.connections == ()


@pytest.mark.usefixtures("queue")
async def test_reading_connections_of_the_same_user_needs_the_tag_management_only(
    broker: Broker, vhost: str, connect: Connect, user: MakeUser, name: str
) -> None:
    same = user("management")
    async with worker(broker, vhost, name, f"{same}:{quote(PASSWORD, safe='')}"):
        await seen(connect(username=same, password=PASSWORD), pod(name), Activity.IDLE)


async def test_connections_of_another_vhost_are_not_read(
    broker: Broker, vhost: str, connect: Connect, queue: AbstractChannel, name: str
) -> None:
    await queue.basic_publish(b"{}", routing_key=QUEUE)
    async with worker(broker, vhost, name):
        await shown(connect(), lambda connection: name in connection.identifiers)
        assert all(
            name not in connection.identifiers for connection in (await connect(vhost="/").consumers()).connections
        )
