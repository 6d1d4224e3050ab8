"""A FastStream application that knows nothing of the adapter. Its task publishes receipts of its start and its end."""

import asyncio
import os

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage
from receipt import receipt  # type: ignore[import-not-found]  # mounted beside this module

broker = RabbitBroker(
    os.environ["BROKER_URL"], default_channel=Channel(prefetch_count=int(os.environ["TASKQUEUE_CONCURRENCY"]))
)
app = FastStream(broker)


@broker.subscriber(RabbitQueue(os.environ["TASKQUEUE_QUEUES"], declare=False))  # type: ignore[untyped-decorator]  # installed for the workers only
async def audited(task: str, seconds: float, message: RabbitMessage) -> None:
    """Run for `seconds`; a task of 0 seconds does nothing."""
    if seconds:
        await _publish_receipt("started", task, message)
        await asyncio.sleep(seconds)
        await _publish_receipt("done", task, message)


async def _publish_receipt(what: str, task: str, message: RabbitMessage) -> None:
    # The broker confirms a receipt before the task continues: a receipt outlives its worker.
    raw = message.raw_message
    await broker.publish(receipt(what, task, raw.headers, redelivered=bool(raw.redelivered)), queue="receipts")
