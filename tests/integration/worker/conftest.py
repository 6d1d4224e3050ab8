import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable

from tests.cluster.broker import Broker
from tests.idle_connections import KEEP_BRIEFLY
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.gate import Gate
from tests.integration.worker.running_worker import RunningWorker


class StartWorker(Protocol):
    def __call__(self, **variables: str) -> RunningWorker: ...


class DeclareQueue(Protocol):
    async def __call__(self, kind: str = "quorum", arguments: FieldTable | None = None) -> DeclaredQueue: ...


@pytest.fixture
def taskqueue() -> str:
    """Name of a TaskQueue that no other test uses."""
    return f"media/{uuid4().hex[:8]}"


@pytest.fixture
def start_worker(broker: Broker, tmp_path: Path, taskqueue: str) -> Iterator[StartWorker]:
    """Starts workers on the broker. The variable `queues` sets TASKQUEUE_QUEUES; a name in capitals stays unchanged."""
    workers: list[RunningWorker] = []
    numbers = itertools.count(1)

    def start(**variables: str) -> RunningWorker:
        named = {name if name.isupper() else f"TASKQUEUE_{name.upper()}": value for name, value in variables.items()}
        defaults = {"RABBITMQ_URL": broker.url, "TASKQUEUE_NAME": taskqueue}
        worker = RunningWorker(tmp_path, f"worker-{next(numbers)}", **defaults | named)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        print(worker.output)


@pytest.fixture
async def channel(broker: Broker) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(broker.url)
    try:
        channel = await connection.channel()
        yield channel
        await channel.close()
    finally:
        await connection.close()


@pytest.fixture
def management(broker: Broker) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=broker.management_url, auth=("guest", "guest"), timeout=120, limits=KEEP_BRIEFLY
    ) as client:
        yield client


@pytest.fixture
def user_url(broker: Broker, management: httpx.Client, taskqueue: str) -> Iterator[str]:
    """The URL of a user without permissions, named after the TaskQueue."""
    api.put_user(management, taskqueue, "secret")
    yield f"amqp://{quote(taskqueue, safe='')}:secret@127.0.0.1:{broker.amqp_port}/"
    api.delete_user(management, taskqueue)


@pytest.fixture
def declare_queue(channel: AbstractChannel) -> DeclareQueue:
    async def declare(kind: str = "quorum", arguments: FieldTable | None = None) -> DeclaredQueue:
        return await DeclaredQueue(channel, f"worker-{uuid4().hex[:8]}", kind).declare(arguments)

    return declare


@pytest.fixture
async def queue(declare_queue: DeclareQueue) -> DeclaredQueue:
    return await declare_queue()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A closed gate: tasks that get it in their payload wait until it opens."""
    return Gate(tmp_path / "gate")
