"""Whether the present task is to end: libraries replace its cancellation by errors, and cancel tasks on their own."""

import asyncio


def is_cancelling() -> bool:
    """Whether the present task was cancelled, by its owner and not by a library that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
