"""Tasks that do nothing, for TASKQUEUE_MODULES of a worker whose own cost is measured."""

import os
import time
from pathlib import Path

from taskqueue_worker import task


@task("noop")
async def noop(_: object) -> None: ...


@task("mark")
def mark(_: object) -> None:
    """Append the CPU seconds that this process, with all its threads, has used."""
    with Path(os.environ["MARKS"]).open("a") as marks:
        marks.write(f"{time.process_time()}\n")
