"""Lets tasks that could all continue at once do so one after the other."""

import asyncio


class OneByOne:
    """Lets each task continue in another iteration of the event loop, so that other tasks run in between."""

    def __init__(self) -> None:
        self._continuing = asyncio.Lock()

    async def wait(self) -> None:
        """Wait until this task may continue; in the order of the calls."""
        async with self._continuing:
            await asyncio.sleep(0)
