"""For TASKQUEUE_MODULES: a task that lasts as long as its message says."""

import asyncio

from taskqueue_worker import task


@task("sleep")
async def sleep(payload: dict[str, float]) -> None:
    await asyncio.sleep(payload["seconds"])
