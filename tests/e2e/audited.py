"""Runs inside the workers of the end-to-end tests: a task that leaves a receipt when it starts and when it is done."""

import asyncio
import os
from typing import Any

from taskqueue_worker import Context, Publisher, task
from taskqueue_worker.settings import broker_source

_receipts = Publisher(broker_source(os.environ), name="receipts")


@task("audited")
async def audited(payload: dict[str, Any], context: Context) -> None:
    """Take `seconds`."""
    await _leave("started", context)
    await asyncio.sleep(payload["seconds"])
    await _leave("done", context)


async def _leave(what: str, context: Context) -> None:
    await _receipts.publish("", "receipts", {"what": what, "task": context.task_id}, type="receipt")
