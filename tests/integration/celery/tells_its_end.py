"""For `-I`: each process of the pool writes that it ends."""

import os
from pathlib import Path

from celery import signals


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _on_end(exitcode: int, **_: object) -> None:
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(f"a process ends with {exitcode}\n")
