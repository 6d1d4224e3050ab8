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

DRAMATIQ_COMMAND = ("-m", "taskqueue_drain.dramatiq", "dramatiq_app", "--threads", "1")
DRAMATIQ = Runtime("dramatiq", (*DRAMATIQ_COMMAND, "--processes", "1"), "dramatiq-2.2", declares=True)

NEWEST = (PIKA, DRAMATIQ, AIO_PIKA, TASKIQ, FASTSTREAM)
ALL = (*NEWEST, PIKA_OLD, FASTSTREAM_OLD)


def _taskiq_body(payload: dict[str, Any], _: str) -> dict[str, Any]:
    labels = payload.pop("labels", {})
    return {"task_id": uuid4().hex, "task_name": "work", "labels": labels, "args": [], "kwargs": payload}


def _dramatiq_body(payload: dict[str, Any], queue: str) -> dict[str, Any]:
    identity = {"message_id": uuid4().hex, "message_timestamp": 0}
    eta = {"eta": payload.pop("eta")} if "eta" in payload else {}
    return {"queue_name": queue, "actor_name": "work", "args": [], "kwargs": payload, "options": eta, **identity}


_BODIES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "dramatiq": _dramatiq_body,
    "taskiq": _taskiq_body,
}


def message_of(runtime: Runtime, queue: str, **payload: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of a task
    """Return a task as the runtime writes it."""
    write = _BODIES.get(runtime.name)
    return payload if write is None else write(payload, queue)


async def send(queue: DeclaredQueue, runtime: Runtime, *, to: str | None = None, **payload: object) -> None:
    """Publish a task as the runtime does, to the queue or to the one named."""
    body = message_of(runtime, to or queue.name, **payload)
    message = aio_pika.Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await queue.channel.default_exchange.publish(message, to or queue.name)
