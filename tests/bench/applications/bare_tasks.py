"""A consumer with aio-pika and nothing else: what the others are compared with."""

import asyncio
import os

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage


async def handle(message: AbstractIncomingMessage) -> None:
    """A task that does nothing."""
    await message.ack()


async def consume() -> None:
    """Run the tasks until the process is killed."""
    connection = await aio_pika.connect(os.environ["BROKER_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=int(os.environ["TASKQUEUE_PREFETCH"]))
    queue = await channel.get_queue(os.environ["TASKQUEUE_QUEUES"], ensure=False)
    await queue.consume(handle)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(consume())
