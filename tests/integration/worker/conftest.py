import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.worker.running import Gate, RunningWorker, Work


class StartWorker(Protocol):
    def __call__(self, **variables: str) -> RunningWorker: ...


class MakeWork(Protocol):
    async def __call__(self, kind: str = "quorum") -> Work: ...


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers on the broker; variables are TASKQUEUE_..., written short, or whole names in capitals."""
    workers: list[RunningWorker] = []
    numbers = itertools.count(1)

    def start(**variables: str) -> RunningWorker:
        given = {name if name.isupper() else f"TASKQUEUE_{name.upper()}": value for name, value in variables.items()}
        worker = RunningWorker(tmp_path, f"worker-{next(numbers)}", **{"RABBITMQ_URL": broker.url} | given)
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
def make_work(channel: AbstractChannel) -> MakeWork:
    async def make(kind: str = "quorum") -> Work:
        return await Work(channel, f"worker-{uuid4().hex[:8]}", kind).declare()

    return make


@pytest.fixture
async def work(make_work: MakeWork) -> Work:
    return await make_work()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed: tasks that are given it wait until it opens."""
    return Gate(tmp_path / "gate")
