"""One expensive call for all simultaneous callers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from taskqueue_operator.resource.faults import Conflict

from .slices import Slices

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Calls `request` so that every caller receives an answer to a request sent after the caller's call.

    Callers that arrive while a request is under way share the next one. They continue in slices, and other tasks run
    in between: what 64 of them do with an answer would hold the event loop.
    """

    def __init__(self, request: Callable[[], Awaitable[Answer]]) -> None:
        self._request = request
        self._in_flight = asyncio.Lock()
        self._slices = Slices()
        self._next: asyncio.Task[Answer] | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def __call__(self) -> Answer:
        """Send a request, or join the one that is sent next.

        Raises:
            Conflict: This object was closed meanwhile.
        """
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._call())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._on_done)
        call = self._next
        await asyncio.wait([call])
        await self._slices.wait()
        if call.cancelled():
            raise Conflict("the request was cancelled: its target is closed")
        return call.result()

    async def close(self) -> None:
        """Cancel all requests under way and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self) -> Answer:
        async with self._in_flight:
            self._next = None
            return await self._request()

    def _on_done(self, task: "asyncio.Task[Answer]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if every caller was cancelled meanwhile
