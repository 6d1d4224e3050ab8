"""One call of a handler, on the loop of the handlers or in a thread."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from .bridge import Inbox
from .failure import Failure

if TYPE_CHECKING:
    from .pools.process_pool import ProcessCall


class NotRunError(Exception):
    """A handler returned a coroutine that was not awaited, so its task was not done."""


class HandlerExitError(Exception):
    """A handler called `sys.exit()`. Its task fails; the process continues."""


class Run:
    """One call of a handler. No exception leaves it, whatever user code raises: a future cannot carry each of them.

    The connection's thread writes `is_withdrawn` and then reads `begun`; the handler's thread writes `begun` and then
    reads `is_withdrawn`. So user code never begins after the connection's thread has found that it had not.

    Attributes:
        ended: Resolves on the connection's loop after the call, with its failure, if any.
        woken: Resolves there when the call has ended, or is not awaited any longer.
        context: The context variables of the call.
        cancelled: Whether the call ended with CancelledError.
        begun: Whether user code has begun.
        is_withdrawn: Whether user code may not begin any more.
        validate: Returns the payload as the handler takes it; None if it takes every payload.
        around: Runs the middleware of the task with its payload, and then the handler; None without middleware.
        thread: Identifier of the thread in which it runs.
        is_in_thread: Whether the handler, which is surrounded, runs in a thread at this moment.
        task: Its task on the loop of the handlers; None in a thread.
        process: The call in a child, made by the thread; None if the handler runs in this process.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[object, ...],
        context: Context,
        connection: Inbox,
    ) -> None:
        """Make a call, in the thread of the connection."""
        loop = asyncio.get_running_loop()
        self._function = function
        self._arguments = arguments
        self._connection = connection
        self.context = context
        self.ended: asyncio.Future[Failure | None] = loop.create_future()
        self.woken: asyncio.Future[None] = loop.create_future()
        self.validate: Callable[[object], object] | None = None
        self.around: Callable[[object], Awaitable[object]] | None = None
        self.cancelled = self.begun = self.is_withdrawn = self.is_in_thread = False
        self.thread: int | None = None
        self.task: asyncio.Task[None] | None = None
        self.process: ProcessCall | None = None

    @property
    def has_begun(self) -> bool:
        """Whether user code has begun, and the handler does not wait for a child."""
        return self.begun and not self.is_starting

    @property
    def is_starting(self) -> bool:
        """Whether the handler waits for a child."""
        return self.process is not None and self.process.is_starting

    def call(self) -> None:
        """Call a `def` handler, in this thread."""
        failure = None
        try:
            self._begin()
            _checked(self.context.run(self._function, *self._arguments))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            failure = self._failed(error)
        self._connection.post(self._resolve, failure)

    async def execute(self) -> None:
        """Call an `async def` handler, on this loop."""
        failure = None
        try:
            self._begin()
            await (self.call_on_loop() if self.around is None else self.around(self._arguments[0]))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            failure = self._failed(error)
        self._connection.post_in_burst(self._resolve, failure)

    async def call_on_loop(self) -> object:
        """Call an `async def` handler and return its result."""
        return _checked(await self._function(*self._arguments))

    def call_in_thread(self) -> object:
        """Call a `def` handler that is surrounded, in this thread, and return its result."""
        loop_thread, self.thread = self.thread, threading.get_ident()
        self.is_in_thread = True
        try:
            return _checked(self._function(*self._arguments))
        finally:
            self.thread, self.is_in_thread = loop_thread, False

    def wake(self) -> None:
        """Do not let the connection's loop await the end any longer."""
        if not self.woken.done():
            self.woken.set_result(None)

    def withdraw(self) -> None:
        """End a call whose user code has not begun."""
        self._connection.post(self._resolve, self._failed(asyncio.CancelledError()))

    def _begin(self) -> None:
        self.thread, self.begun = threading.get_ident(), True
        if self.is_withdrawn:
            raise asyncio.CancelledError
        if self.validate is not None:  # by user code too, so not on the connection's loop
            payload, *rest = self._arguments
            self._arguments = (self.validate(payload), *rest)

    def _failed(self, error: BaseException) -> Failure:
        self.cancelled = isinstance(error, asyncio.CancelledError)
        return Failure.of(_explained(error))

    def _resolve(self, failure: Failure | None) -> None:
        if not self.ended.done():
            self.ended.set_result(failure)
            self.wake()


def _checked(result: object) -> object:
    if inspect.iscoroutine(result):
        # For example from a plain decorator around an `async def`. An acknowledgement would lose the task silently.
        result.close()
        raise NotRunError("The handler returned a coroutine. Make its wrapper `async def` and await the handler.")
    return result


def _explained(error: BaseException) -> BaseException:
    explained: BaseException
    match error:
        case SystemExit():
            explained = HandlerExitError("The handler called sys.exit(). Return or raise an exception instead.")
        case asyncio.CancelledError():
            explained = asyncio.CancelledError("The handler cancelled itself.")
        case _:
            return error
    explained.__cause__ = error
    return explained
