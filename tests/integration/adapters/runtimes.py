"""The runtimes of the shared tests."""

import json
from collections.abc import Callable
from typing import Any

import aio_pika

from tests.integration.adapters.running_application import Runtime
from tests.integration.worker.declared_queue import DeclaredQueue

PIKA = Runtime("pika", ("by_hand_pika.py",), "pika-1.4")
PIKA_OLD = Runtime("pika-old", ("by_hand_pika.py",), "pika-1.3")

NEWEST = (PIKA,)
ALL = (*NEWEST, PIKA_OLD)

_BODIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}


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
