"""One expensive call for all simultaneous callers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Generic, TypeVar

from taskqueue_operator.resource.faults import Conflict

Answer = TypeVar("Answer")
Paused = Callable[[], AbstractAsyncContextManager[None]]


class SingleFlight(Generic[Answer]):
    """Calls `request` so that every caller receives an answer to a request sent after the caller's call.

    Callers that arrive while a request is under way share the next one. They continue one by one, and other tasks run
    in between: what a thousand of them do with an answer would hold the event loop.
    """

    def __init__(self, request: Callable[[], Awaitable[Answer]]) -> None:
        self._request = request
        self._in_flight = asyncio.Lock()
        self._callers = 0
        self._next: _Flight[Answer] | None = None
        self._newest: _Flight[Answer] | None = None
        self._flights: set[_Flight[Answer]] = set()

    async def __call__(self, paused: Paused = nullcontext) -> Answer:
        """Send a request, or join the one that is sent next; return the newest answer that there is at the end.

        Args:
            paused: The caller waits for its answer within this context, whose end may take long.

        Raises:
            Conflict: This object was closed meanwhile.
        """
        flight = self._next = self._next or self._take_off()
        self._callers += 1
        try:
            async with paused():
                await flight.wait()
            flight.answer()  # raises the error of the request
            return (self._newest or flight).answer()
        finally:
            self._callers -= 1
            if not self._callers:
                self._newest = None

    async def close(self) -> None:
        """Cancel all requests under way and wait for them."""
        tasks = [flight.task for flight in self._flights]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take_off(self) -> "_Flight[Answer]":
        flight = _Flight(asyncio.create_task(self._call()))
        self._flights.add(flight)
        flight.task.add_done_callback(lambda _: self._land(flight))
        return flight

    async def _call(self) -> Answer:
        async with self._in_flight:
            self._next = None
            return await self._request()

    def _land(self, flight: "_Flight[Answer]") -> None:
        self._flights.discard(flight)
        if flight is self._next:  # cancelled before its request
            self._next = None
        if not flight.task.cancelled() and flight.task.exception() is None and self._callers:
            self._newest = flight
        flight.wake_next()


class _Flight(Generic[Answer]):
    """A request and those who wait for its answer."""

    def __init__(self, task: "asyncio.Task[Answer]") -> None:
        self.task = task
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def wait(self) -> None:
        """Wait until the request has ended, and those who came before have continued."""
        if self.task.done() and not self._waiting:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        await turn

    def wake_next(self) -> None:
        """Let the caller that has waited for the longest continue, and the others after it, one in each iteration."""
        while self._waiting:
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            if not turn.done():  # otherwise its caller was cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self.wake_next)
                return

    def answer(self) -> Answer:
        """Return the answer.

        Raises:
            Conflict: The request was cancelled.
        """
        if self.task.cancelled():
            raise Conflict("the request was cancelled: its target is closed")
        return self.task.result()
