"""A consumer with aio-pika that is written by hand. Its tasks write a ledger, and may wait at a gate."""

import asyncio
import json

import ledger  # type: ignore[import-not-found]  # beside this file
from aio_pika.abc import AbstractIncomingMessage

from taskqueue_drain.aio_pika import Drainable


async def handle(message: AbstractIncomingMessage) -> None:
    await ledger.work(**json.loads(message.body))


async def main() -> None:
    async with Drainable.from_environment() as worker:
        await worker.run(handle)


if __name__ == "__main__":
    asyncio.run(main())
