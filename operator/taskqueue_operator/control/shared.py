"""One expensive call for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """Calls `ask` so that every caller gets an answer that was begun after its own request.

    Those who ask while a call is under way share the next one.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Answer] | None = None

    async def __call__(self) -> Answer:
        """Ask, or join the call that is about to begin."""
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._call())
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _call(self) -> Answer:
        async with self._turn:
            self._next = None
            return await self._ask()


def _retrieve(task: "asyncio.Task[Answer]") -> None:
    """Have asyncio know that the failure was seen, even when every caller has been cancelled meanwhile."""
    if not task.cancelled():
        task.exception()
