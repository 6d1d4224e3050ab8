"""Divides long work, and what many tasks could do at once, into slices of time; other tasks run after each slice."""

import asyncio
import time
from typing import Final

SLICE_SECONDS: Final = 0.005


class Slices:
    """One slice of work in each iteration of the event loop, in the order in which tasks wait for it."""

    def __init__(self) -> None:
        self._is_new = True
        self._ends_at = 0.0
        self._next_is_scheduled = False

    async def wait(self) -> None:
        """Continue at once while the present slice lasts, otherwise in the next one, or in one after it."""
        while not self._may_continue():
            if not self._next_is_scheduled:
                self._next_is_scheduled = True
                asyncio.get_running_loop().call_soon(self._begin)
            await asyncio.sleep(0)

    def _may_continue(self) -> bool:
        # Not the loop's time, which stands still during an iteration.
        now = time.monotonic()
        if self._is_new:
            self._is_new, self._ends_at = False, now + SLICE_SECONDS
            return True
        return now < self._ends_at

    def _begin(self) -> None:
        self._is_new, self._next_is_scheduled = True, False
