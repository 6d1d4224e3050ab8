"""A taskiq application that knows nothing of the adapter. Its task publishes receipts of its start and its end."""

import asyncio
import json
import os

import aio_pika
from receipt import receipt  # type: ignore[import-not-found]  # mounted beside this module
from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

QUEUE = os.environ["TASKQUEUE_QUEUES"]
URL = os.environ["BROKER_URL"]

broker = AioPikaBroker(
    URL,
    exchange=Exchange(name="taskiq"),
    task_queues=[Queue(name=QUEUE, declare=False)],
    dead_letter_queue=Queue(name=f"{QUEUE}.dlq", declare=False),
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)  # type: ignore[untyped-decorator]  # installed for the workers only
async def connect(state: TaskiqState) -> None:
    """Open the channel of the receipts. The broker confirms each one, so that it outlives its worker."""
    state.connection = await aio_pika.connect_robust(URL)
    state.channel = await state.connection.channel()


@broker.task(task_name="audited")  # type: ignore[untyped-decorator]  # likewise
async def audited(task: str, seconds: float) -> None:
    """Run for `seconds`; a task of 0 seconds does nothing. taskiq does not show the headers of the message."""
    if seconds:
        await _publish_receipt("started", task)
        await asyncio.sleep(seconds)
        await _publish_receipt("done", task)


async def _publish_receipt(what: str, task: str) -> None:
    body = json.dumps(receipt(what, task, {}, redelivered=False)).encode()
    await broker.state.channel.default_exchange.publish(aio_pika.Message(body), "receipts")
