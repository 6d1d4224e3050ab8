"""Tasks that are done once, or resume, with the store of the environment."""

import asyncio
import os
from typing import Any

from ledger_tasks import is_open, write  # type: ignore[import-not-found]  # both are in the working folder of the worker

from taskqueue_worker import Context, Requeue, task
from taskqueue_worker.idempotency import Idempotent
from taskqueue_worker.results import Results
from taskqueue_worker.stores import PostgresStore, RedisStore

URL = os.environ["STORE_URL"]
store = RedisStore(URL) if URL.startswith("redis") else PostgresStore(URL)


@task("once", idempotent=Idempotent(store, lease=2), results=Results(store))
async def once(payload: dict[str, Any]) -> str:
    write(f"started {payload['n']}")
    while not is_open(payload):  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    write(f"finished {payload['n']}")
    return "ready"


@task("fail.once", idempotent=Idempotent(store), results=Results(store))
def fail(_: dict[str, Any]) -> None:
    raise LookupError("no such page")


@task("long", results=Results(store))
async def long(payload: dict[str, Any], context: Context) -> None:
    """Do three steps. The second one waits at the gate, or for the end of the worker."""
    for step in range(context.resume or 0, 3):
        write(f"step {step}")
        while step == 1 and not is_open(payload):
            if context.draining.is_set():
                raise Requeue("the worker leaves")
            await asyncio.sleep(0.01)
        await context.checkpoint(step + 1)
        context.progress((step + 1) / 3)


@task("cut", results=Results(store))
async def cut(_: dict[str, Any]) -> None:
    await asyncio.sleep(3600)
