"""A task that only says when it ran, for TASKQUEUE_MODULES of workers whose pauses are measured."""

import os
import time
from pathlib import Path

from taskqueue_worker import task

_LEDGER = Path(os.environ["LEDGER"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the process


@task("stamp")
async def stamp(payload: dict[str, int]) -> None:
    """Append the number of the task and the present to the ledger."""
    _LEDGER.write(f"{payload['n']} {time.monotonic()}\n")
