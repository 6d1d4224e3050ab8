"""A lifespan that writes to the ledger. It is refused or waits, as LIFESPAN says."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from taskqueue_worker import lifespan


def write(line: str) -> None:
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(line + "\n")


@lifespan
async def shared() -> AsyncIterator[None]:
    write("lifespan begins")
    if os.environ.get("LIFESPAN") == "fails":
        raise ConnectionRefusedError("no database")
    if os.environ.get("LIFESPAN") == "waits":
        await asyncio.sleep(3600)
    yield
    write("lifespan ends")
