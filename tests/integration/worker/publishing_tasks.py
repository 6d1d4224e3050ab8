"""The tasks of the tests of publishers: each writes what its message states to the ledger."""

from typing import Any

from ledger_tasks import write  # type: ignore[import-not-found]  # both are in the working folder of the worker

from taskqueue_worker import Context, task


@task("image.thumbnail")
async def thumbnail(payload: dict[str, Any], context: Context) -> None:
    write(f"{payload['n']} {context.task_id}")


@task("fail.always")
async def fail(payload: dict[str, Any]) -> None:
    raise LookupError(f"no such image: {payload['n']}")
