"""Runs inside workers of end-to-end tests and benchmarks: a task that publishes receipts of its start and its end."""

import asyncio
import os
from typing import Any

import gate  # type: ignore[import-not-found]  # mounted beside this module
from receipt import receipt  # type: ignore[import-not-found]  # likewise

from taskqueue_drain.broker import broker_source
from taskqueue_worker import Context, Publisher, task

_receipts = Publisher(broker_source(os.environ), name="receipts")


@task("audited")
async def audited(payload: dict[str, Any], context: Context) -> None:
    """Run for `seconds`, and then until the `gate` is open."""
    await _publish_receipt("started", context)
    await asyncio.sleep(payload["seconds"])
    while payload["gate"] and not await asyncio.to_thread(gate.is_open, payload["gate"]):  # noqa: ASYNC110 - HTTP
        await asyncio.sleep(gate.POLL_SECONDS)
    await _publish_receipt("done", context)


async def _publish_receipt(what: str, context: Context) -> None:
    # The broker confirms it before the task continues: a receipt outlives its worker.
    body = receipt(what, context.task_id, context.headers, redelivered=context.redelivered)
    await _receipts.publish("", "receipts", body, type="receipt")
