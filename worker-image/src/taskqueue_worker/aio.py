"""Waiting that ends when something else happens."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run_unless(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of `work`, or None once `event` is set: `work` is cancelled then."""
    task, waiter = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        # Asked of the waiter: the event may have been cleared again since.
        return None if waiter.done() and (task.cancelled() or not task.done()) else task.result()
    finally:
        task.cancel()
        waiter.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Sleep, but no longer than until `event` is set."""
    await run_unless(event, asyncio.sleep(seconds))


def cancelled_by_us() -> bool:
    """Whether a CancelledError that reached this task was meant for it.

    aiormq ends the waits of a closing channel with the reason of the close, and that may be a CancelledError.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
