"""What the handlers of a process share: it begins before the worker consumes, and ends after the last task.

All of it runs in one task on the loop of the handlers: some libraries must end what they began in the same task.
"""

import asyncio
import concurrent.futures
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from .bounds import CLOSE_SECONDS, LIFESPAN_SECONDS
from .failure import Failure
from .handler_loop import HandlerLoop
from .tasks import Registry


class LifespanTimeoutError(Exception):
    """The lifespan takes too long."""


class Lifespan:
    """The lifespan of the application, and the middleware that is a context manager. Methods are for the connection."""

    def __init__(self, registry: Registry, handlers: HandlerLoop) -> None:
        self._handlers = handlers
        self._function = registry.lifespan_function
        middleware = {id(item): item for handler in registry for item in handler.around}
        self._middleware = [item for item in middleware.values() if isinstance(item, AbstractAsyncContextManager)]
        self._begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._leave = asyncio.Event()
        self._ended: asyncio.Future[Failure | None] | None = None

    async def begin(self) -> Failure | None:
        """Begin; return what went wrong, or None once all of it has begun."""
        if self._function is None and not self._middleware:
            return None
        self._ended = self._handlers.submit(self._live())
        begun = asyncio.wrap_future(self._begun)
        try:
            waiting: set[asyncio.Future[Any]] = {begun, self._ended}
            await asyncio.wait(waiting, timeout=LIFESPAN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not begun.done():
                begun.cancel()
                self._ended.cancel()  # unless it has ended
        if not begun.cancelled():
            return None
        return _failure(self._ended, f"The lifespan did not begin within {LIFESPAN_SECONDS} s.")

    async def end(self) -> Failure | None:
        """End; return what went wrong."""
        if self._ended is None or self._ended.done():
            return None
        self._handlers.set(self._leave)
        await asyncio.wait({self._ended}, timeout=CLOSE_SECONDS)
        return _failure(self._ended, f"The lifespan did not end within {CLOSE_SECONDS} s.")

    async def _live(self) -> Failure | None:
        try:
            async with AsyncExitStack() as stack:
                if self._function is not None:
                    self._handlers.state = await stack.enter_async_context(asynccontextmanager(self._function)())
                for middleware in self._middleware:
                    await stack.enter_async_context(middleware)
                self._begun.set_result(None)
                await self._leave.wait()
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            return Failure.of(error)
        return None


def _failure(ended: "asyncio.Future[Failure | None]", overdue: str) -> Failure | None:
    if ended.done() and not ended.cancelled():
        return ended.result()
    ended.cancel()
    return Failure.of(LifespanTimeoutError(overdue))
