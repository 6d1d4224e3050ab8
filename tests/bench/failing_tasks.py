"""A task that always fails, for TASKQUEUE_MODULES of a worker whose retries are measured."""

import os
import sys
import time
from pathlib import Path

from taskqueue_worker import Context, brake, task

_LEDGER = Path(os.environ["LEDGER"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the process

brake.FAILURES = sys.maxsize  # type: ignore[misc]  # a constant everywhere else. It delays starts while no task succeeds


@task("fail")
async def fail(_: object, context: Context) -> None:
    """Append id, number of the attempt and the present to the ledger, and fail."""
    attempt = context.headers.get("x-attempt", 1) + context.headers.get("x-delivery-count", 0)
    _LEDGER.write(f"{context.task_id} {attempt} {time.time()}\n")
    raise LookupError("no such image")
