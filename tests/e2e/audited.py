"""Runs inside workers of end-to-end tests and benchmarks: a task that leaves receipts of its start and its end."""

import asyncio
import os
import socket
import time
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
    receipt = {
        "what": what,
        "task": context.task_id,
        "pod": socket.gethostname(),
        "at": time.time(),
        "redelivered": context.redelivered,
        "acquired": context.headers.get("x-acquired-count", 0),
        "failed": context.headers.get("x-delivery-count", 0),
    }
    # Confirmed before the task goes on: a receipt survives whatever happens to its worker.
    await _receipts.publish("", "receipts", receipt, type="receipt")
