"""Waits that end early when an event is set."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

Result = TypeVar("Result")
_CANCEL_PERIOD_SECONDS: Final = 1


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


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancel a task, and return when it has ended.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that comes together with its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_PERIOD_SECONDS)


def is_cancellation_requested() -> bool:
    """Return whether the current task itself was cancelled.

    aiormq ends the waits on a closing channel with the reason of the close, and that may be a CancelledError too.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raise a cancellation of the current task in the end, if the code within has lost it.

    On a channel that is being closed, a call of aiormq raises the reason of the close in place of the cancellation.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
