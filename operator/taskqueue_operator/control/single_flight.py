"""One expensive call for all simultaneous callers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Generic, TypeVar

from taskqueue_operator.resource.faults import Conflict

Answer = TypeVar("Answer")
Waiting = Callable[[], AbstractAsyncContextManager[None]]


class SingleFlight(Generic[Answer]):
    """Calls `request` so that every caller receives an answer to a request sent after the caller's call.

    Callers that arrive while a request is under way share the next one. They continue one by one, and other tasks run
    in between: what a thousand of them do with an answer would hold the event loop.
    """

    def __init__(self, request: Callable[[], Awaitable[Answer]]) -> None:
        self._request = request
        self._in_flight = asyncio.Lock()
        self._callers = 0
        self._next: _Call[Answer] | None = None
        self._newest: _Call[Answer] | None = None
        self._calls: set[_Call[Answer]] = set()

    async def __call__(self, waiting: Waiting = nullcontext) -> Answer:
        """Send a request, or join the one that is sent next; return the newest answer that there is at the end.

        Args:
            waiting: The caller waits for its answer within this context, whose end may take long.

        Raises:
            Conflict: This object was closed meanwhile.
        """
        call = self._next = self._next or self._start()
        self._callers += 1
        try:
            async with waiting():
                await call.wait()
            call.answer()  # raises the error of the request
            return (self._newest or call).answer()
        finally:
            self._callers -= 1
            if not self._callers:
                self._newest = None

    async def close(self) -> None:
        """Cancel all requests under way and wait for them."""
        tasks = [call.task for call in self._calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> "_Call[Answer]":
        call = _Call(asyncio.create_task(self._send()))
        self._calls.add(call)
        call.task.add_done_callback(lambda _: self._on_done(call))
        return call

    async def _send(self) -> Answer:
        async with self._in_flight:
            self._next = None
            return await self._request()

    def _on_done(self, call: "_Call[Answer]") -> None:
        self._calls.discard(call)
        if call is self._next:  # cancelled before its request
            self._next = None
        if not call.task.cancelled() and call.task.exception() is None and self._callers:
            self._newest = call
        call.wake_next()


class _Call(Generic[Answer]):
    """A request and those who wait for its answer."""

    def __init__(self, task: "asyncio.Task[Answer]") -> None:
        self.task = task
        self._waiting = deque[asyncio.Future[None]]()

    async def wait(self) -> None:
        """Wait until the request has ended, and those who came before have continued."""
        if self.task.done() and not self._waiting:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def wake_next(self) -> None:
        """Let the caller that has waited for the longest continue, and the others after it, one in each iteration."""
        while self._waiting:
            turn = self._waiting.popleft()
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
