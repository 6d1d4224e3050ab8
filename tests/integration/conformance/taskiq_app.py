"""A taskiq application whose task lasts as long as its message says."""

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

QUEUE = os.environ["TASKQUEUE_QUEUES"]

broker = AioPikaBroker(
    os.environ["RABBITMQ_URL"],
    exchange=Exchange(name=QUEUE),
    task_queues=[Queue(name=QUEUE, declare=False)],
    dead_letter_queue=Queue(name=f"{QUEUE}.dlq", declare=False),
)


@broker.task(task_name="sleep")  # type: ignore[untyped-decorator]  # installed for the tests only
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
