"""One expensive call for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from taskqueue_operator.resource.faults import Conflict

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Calls `ask` so that every caller gets an answer that was begun after its own request.

    Those who ask while a call is under way share the next one.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Answer] | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def __call__(self) -> Answer:
        """Ask, or join the call that is about to begin.

        Raises:
            Conflict: The calls were dropped meanwhile.
        """
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._call())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._done)
        call = self._next
        await asyncio.wait([call])
        if call.cancelled():
            raise Conflict("the one who was asked is gone")
        return call.result()

    async def close(self) -> None:
        """Drop the calls that are under way: nobody waits for them any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self) -> Answer:
        async with self._turn:
            self._next = None
            return await self._ask()

    def _done(self, task: "asyncio.Task[Answer]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when every caller has been cancelled meanwhile
