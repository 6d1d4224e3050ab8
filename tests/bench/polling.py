"""Waits for a condition that can only be polled."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, *, seconds: float, every: float) -> None:
    """Poll until `condition` holds.

    Raises:
        TimeoutError: It does not hold within `seconds`; the text contains `what`.
    """
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        await asyncio.sleep(every)
