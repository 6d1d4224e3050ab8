"""Turns to do a piece of work, such as to read reports or to open a connection with TLS."""

import asyncio


class Turns:
    """Gives turns one after the other, so many a second; who asks first has the next one."""

    def __init__(self, per_second: float) -> None:
        self._pause_seconds = 1 / per_second
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a turn. A cancelled wait takes none."""
        async with self._turn:
            await asyncio.sleep(self._pause_seconds)
