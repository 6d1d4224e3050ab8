import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.adapters.running_application import RunningApplication, Runtime
from tests.integration.worker.conftest import channel, gate, management, taskqueue, user_url
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator

__all__ = ["channel", "gate", "management", "taskqueue", "user_url"]

StartApplication = Callable[..., RunningApplication]


@pytest.fixture
async def queue(channel: AbstractChannel, request: pytest.FixtureRequest) -> DeclaredQueue:
    """A queue as the operator declares it, or as the runtime of the test does."""
    name = f"adapter-{uuid4().hex[:8]}"
    runtime = request.getfixturevalue("runtime") if "runtime" in request.fixturenames else None
    if runtime is None or not runtime.declares:
        return await DeclaredQueue(channel, name).declare()
    return await DeclaredQueue(channel, name, "classic").declare({"x-dead-letter-routing-key": f"{name}.XQ"})


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> FakeOperator:
    return await FakeOperator(channel, taskqueue).listen()


@pytest.fixture
def start(broker: Broker, tmp_path: Path, taskqueue: str, queue: DeclaredQueue) -> Iterator[StartApplication]:
    """Starts applications with one slot and a prefetch of ten, where the runtime has one."""
    workers: list[RunningApplication] = []
    numbers = itertools.count(1)

    def start(runtime: Runtime, *, omit: str = "", **variables: str) -> RunningApplication:
        defaults = {
            "RABBITMQ_URL": broker.url,
            "TASKQUEUE_NAME": taskqueue,
            "TASKQUEUE_QUEUES": queue.name,
            "TASKQUEUE_PREFETCH": "10",
            "QUEUE": queue.name,
            "CONNECTION_NAME": taskqueue,
        }
        variables = {name: value for name, value in (defaults | variables).items() if name != omit}
        worker = RunningApplication(tmp_path, f"worker-{next(numbers)}", runtime, variables)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        print(worker.output)
