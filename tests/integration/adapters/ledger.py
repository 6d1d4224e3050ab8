"""What the tasks of all applications do: write a ledger, wait at a gate, fail."""

import asyncio
import os
import time
from pathlib import Path


def write(line: str) -> None:
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(line + "\n")


async def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    write(f"started {n}")
    while gate is not None and not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 - another process opens it
        await asyncio.sleep(0.01)
    _end(n, fails=fails)


def block(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    """As `work`, for a thread."""
    write(f"started {n}")
    while gate is not None and not Path(gate).exists():
        time.sleep(0.01)
    _end(n, fails=fails)


def _end(n: int, *, fails: bool) -> None:
    if fails:
        raise ValueError(n)
    write(f"finished {n}")
