"""Tasks in batches. Each call writes one line to the ledger when it starts and one when it ends."""

import asyncio
import os
from pathlib import Path
from typing import Any

from taskqueue_worker import Batch, Reject, Requeue, Retry, task

LEDGER = Path(os.environ["LEDGER"])

OUTCOMES: dict[str, Exception | None] = {
    "done": None,
    "retry": Retry("busy", delay=0.5),
    "reject": Reject("never"),
    "requeue": Requeue("later"),
    "error": LookupError("no such row"),
}


def write(line: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(line + "\n")


def is_open(payload: dict[str, Any]) -> bool:
    return "gate" not in payload or Path(payload["gate"]).exists()


def numbers(payloads: list[dict[str, Any]]) -> str:
    return " ".join(sorted(str(payload["n"]) for payload in payloads))


@task("outcomes", batch=Batch(size=5, seconds=0.2))
async def outcomes(payloads: list[dict[str, Any]]) -> list[Exception | None]:
    """Each message has the outcome that it names at first, and is done in a later batch."""
    write(f"started {numbers(payloads)}")
    return [OUTCOMES.pop(payload["n"], None) for payload in payloads]


@task("batch.slow", batch=Batch(size=4, seconds=600))
async def slow(payloads: list[dict[str, Any]]) -> None:
    write(f"started {numbers(payloads)}")
    while not all(map(is_open, payloads)):  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    write(f"finished {numbers(payloads)}")


@task("thread", batch=Batch(size=2, seconds=600))
def thread(payloads: list[dict[str, Any]]) -> None:
    write(f"started {numbers(payloads)}")
