"""A task of a tenant, for TASKQUEUE_MODULES of workers that tenants share."""

import asyncio
import os
import time
from pathlib import Path

from taskqueue_worker import task

SECONDS = 0.1
_LEDGER = Path(os.environ["LEDGER"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the process


@task("serve")
async def serve(payload: dict[str, str]) -> None:
    """Take a while, and append the task and the present to the ledger."""
    started = time.monotonic()
    await asyncio.sleep(SECONDS)
    _LEDGER.write(f"{payload['id']} {started} {time.monotonic()}\n")
