"""Waits for a condition of another process."""

import asyncio
import inspect
from collections.abc import Callable

TIMEOUT_SECONDS = 120


async def eventually(description: str, condition: Callable[[], object]) -> None:
    """Wait until the condition holds; it may be asynchronous.

    Raises:
        TimeoutError: It does not hold within `TIMEOUT_SECONDS`.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                result = condition()
                if inspect.isawaitable(result):
                    result = await result
                if result:
                    return
                await asyncio.sleep(0.05)  # most conditions ask the management API
    except TimeoutError as error:
        error.add_note(f"waited for: {description}")
        raise
