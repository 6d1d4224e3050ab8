"""A FastStream application whose task lasts as long as its message says."""

import asyncio
import os

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

broker = RabbitBroker(os.environ["RABBITMQ_URL"], default_channel=Channel(prefetch_count=1))
app = FastStream(broker)


@broker.subscriber(RabbitQueue(os.environ["TASKQUEUE_QUEUES"], declare=False))  # type: ignore[untyped-decorator]  # installed for the tests only
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
