"""Lets tasks that could all continue at once do so one after the other."""

import asyncio


class Turns:
    """Gives turns to tasks, each in another iteration of the event loop, so that other tasks run in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a turn; who asks first has the next one."""
        async with self._turn:
            await asyncio.sleep(0)
