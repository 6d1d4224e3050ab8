"""The runtimes of the shared tests."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import aio_pika

from tests.integration.adapters.running_application import Runtime
from tests.integration.worker.declared_queue import DeclaredQueue

PIKA = Runtime("pika", ("by_hand_pika.py",), "pika-1.4")
PIKA_OLD = Runtime("pika-old", ("by_hand_pika.py",), "pika-1.3")
AIO_PIKA = Runtime("aio-pika", ("by_hand_aio_pika.py",))
TASKIQ_COMMAND = ("-m", "taskiq", "worker", "taskiq_app:broker", "--workers", "1", "--max-async-tasks", "1")
TASKIQ = Runtime(
    "taskiq", (*TASKIQ_COMMAND, "--max-prefetch", "9", "--receiver", "taskqueue_drain.taskiq:Receiver"), "taskiq-0.12"
)
FASTSTREAM = Runtime("faststream", ("-m", "taskqueue_drain.faststream", "run", "faststream_app:app"), "faststream-0.7")
FASTSTREAM_OLD = Runtime("faststream-0.6", FASTSTREAM.command, "faststream-0.6")

NEWEST = (PIKA, AIO_PIKA, TASKIQ, FASTSTREAM)
ALL = (*NEWEST, PIKA_OLD, FASTSTREAM_OLD)


def _taskiq_body(payload: dict[str, Any]) -> dict[str, Any]:
    labels = payload.pop("labels", {})
    return {"task_id": uuid4().hex, "task_name": "work", "labels": labels, "args": [], "kwargs": payload}


_BODIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"taskiq": _taskiq_body}


async def send(queue: DeclaredQueue, runtime: Runtime, **payload: object) -> None:
    """Publish a task as the runtime does."""
    write = _BODIES.get(runtime.name)
    body = payload if write is None else write(payload)
    message = aio_pika.Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await queue.channel.default_exchange.publish(message, queue.name)
