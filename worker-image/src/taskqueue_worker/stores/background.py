"""Tasks that use a store beside a handler."""

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.1


async def end(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end.

    Again and again: clients of stores lose a cancellation that arrives in the moment in which a call ends.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_SECONDS)
