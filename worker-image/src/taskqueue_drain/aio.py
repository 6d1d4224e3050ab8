"""Waits that end early when an event is set."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run_unless(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Run `work` and return its result; cancel it and return None once `event` is set."""
    task, waiter = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        # The waiter and not the event decides: the event may have been cleared again.
        return None if waiter.done() and (task.cancelled() or not task.done()) else task.result()
    finally:
        task.cancel()
        waiter.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)


async def sleep_unless(event: asyncio.Event, seconds: float) -> None:
    """Sleep, at most until `event` is set."""
    await run_unless(event, asyncio.sleep(seconds))


def is_cancellation_requested() -> bool:
    """Return whether the current task itself was cancelled.

    aiormq ends the waits on a closing channel with the reason of the close, and that may be a CancelledError too.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raise_if_cancelled() -> None:
    """Raise the cancellation of the current task again, which a call of aiormq may have lost.

    On a channel that is being closed, such a call raises the reason of the close in place of the cancellation.
    """
    if is_cancellation_requested():
        raise asyncio.CancelledError
