import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable

from tests.cluster.broker import Broker
from tests.integration.celery.running_celery import RunningCelery, Version
from tests.integration.worker.conftest import (
    channel,
    declare_queue,
    gate,
    management,
    queue,
    taskqueue,
    user_url,
)
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator

__all__ = ["channel", "declare_queue", "gate", "management", "queue", "taskqueue", "user_url"]

StartCelery = Callable[..., RunningCelery]
ADAPTER = ("-I", "taskqueue_drain.celery")


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> FakeOperator:
    return await FakeOperator(channel, taskqueue).listen()


@pytest.fixture
def start_celery(broker: Broker, tmp_path: Path, taskqueue: str, queue: DeclaredQueue) -> Iterator[StartCelery]:
    """Starts Celery workers with the adapter and one slot."""
    workers: list[RunningCelery] = []
    numbers = itertools.count(1)

    def start(*options: str, version: Version = "5.7", **variables: str) -> RunningCelery:
        defaults = {"RABBITMQ_URL": broker.url, "TASKQUEUE_NAME": taskqueue, "QUEUE": queue.name}
        name = f"celery-{next(numbers)}"
        options = ("--concurrency=1", f"--hostname={name}", *(options or ADAPTER))
        worker = RunningCelery(tmp_path, name, *options, variables=defaults | variables, version=version)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        print(worker.output)


async def send(
    queue: DeclaredQueue, task: str = "work", *, eta: str | None = None, attempt: int | None = None, **arguments: object
) -> None:
    """Publish a task as Celery does; `attempt` as a copy with this number."""
    identity = uuid4().hex
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    headers: FieldTable = {"lang": "py", "task": task, "id": identity, "root_id": identity, "retries": 0}
    if eta is not None:
        headers["eta"] = eta
    if attempt is not None:
        headers["x-attempt"] = attempt
    message = aio_pika.Message(
        json.dumps([[], arguments, embedded]).encode(),
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=identity,
        headers=headers,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await queue.channel.default_exchange.publish(message, queue.name)
