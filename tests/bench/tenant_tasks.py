"""A task of a tenant, for TASKQUEUE_MODULES of workers that tenants share."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from taskqueue_worker import task

_LEDGER = Path(os.environ["LEDGER"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the process


@task("serve")
async def serve(payload: dict[str, Any]) -> None:
    """Take a while, and append the task and the present to the ledger."""
    await asyncio.sleep(payload["seconds"])
    _LEDGER.write(f"{payload['id']} {time.monotonic()}\n")
