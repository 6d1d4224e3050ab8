"""A script with aio-pika whose task lasts as long as its message says."""

import asyncio
import json

from aio_pika.abc import AbstractIncomingMessage

from taskqueue_drain.aio_pika import Drainable


async def handle(message: AbstractIncomingMessage) -> None:
    await asyncio.sleep(json.loads(message.body)["seconds"])


async def main() -> None:
    async with Drainable.from_environment() as worker:
        await worker.run(handle)


asyncio.run(main())
