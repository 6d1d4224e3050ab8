"""The event loop of `async def` handlers. A handler that blocks holds this loop, and never the connection."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from . import bounds
from .bounds import CLOSE_SECONDS
from .bridge import Inbox
from .run import Run

Result = TypeVar("Result")

_log = structlog.get_logger("handlers")


class HandlerLoop:
    """Runs coroutines of handlers. Every method is for the thread of the connection.

    Attributes:
        draining: Set on this loop at SIGTERM, for handlers to read and to wait for.
        lag_seconds: How late it answered the last check.
        state: What the lifespan of the application has yielded.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """`loop` must not be closed, nor run in another thread after `start_thread`."""
        self._loop = loop
        self._inbox = Inbox(loop)
        self._thread: threading.Thread | None = None
        self._closing = False
        self._asked_at: float | None = None
        self.lag_seconds = 0.0
        self.draining = asyncio.Event()
        self.state: object = None

    def start_thread(self) -> None:
        """Run the loop in a new thread. The thread is a daemon: a handler that holds it does not hold the exit."""
        self._inbox.open_pipe()
        self._thread = threading.Thread(target=self._run_forever, name="handlers", daemon=True)
        self._thread.start()

    def start(self, run: Run) -> None:
        """Call the handler of `run`, which is an `async def`."""
        self._inbox.post_in_burst(self._begin, run)

    def cancel(self, run: Run) -> None:
        """Cancel the handler, or do not let it begin. One that runs in a thread cannot be cancelled."""
        run.is_withdrawn = True
        self._inbox.post(self._cancel, run)

    def notify_draining(self) -> None:
        """Tell the handlers that the worker is leaving."""
        self.set(self.draining)

    def set(self, event: asyncio.Event) -> None:
        """Set an event that coroutines on this loop wait for."""
        self._inbox.post(event.set)

    def submit(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Future[Result]":
        """Begin a coroutine on this loop; return its future on the loop of the connection."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """Let the loop run a call, which must not raise."""
        self._inbox.post(call, *arguments)

    def check(self) -> None:
        """Ask the loop for a sign of life, unless it still owes one."""
        if self._asked_at is None:
            self._asked_at = asked_at = time.monotonic()
            self._inbox.post(self._answer, asked_at)

    def read(self, work: Callable[[], Result], seconds: float) -> Result | None:
        """Run code of the application on the loop, which it may hold; None without a result within the time.

        For any thread without a loop of its own.
        """

        async def call() -> Result:
            return work()

        coroutine = call()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)
        except TimeoutError:
            return None
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            coroutine.close()
            return None

    @property
    def held_seconds(self) -> float:
        """For how long the loop has not answered the last check; 0 if it has."""
        asked_at = self._asked_at
        return 0 if asked_at is None else time.monotonic() - asked_at

    @property
    def is_held(self) -> bool:
        """Whether user code has held the loop for longer than it may."""
        return self.held_seconds > bounds.HELD_SECONDS

    @property
    def current(self) -> "asyncio.Task[object] | None":
        """The task that runs on the loop at this moment."""
        return asyncio.current_task(self._loop)

    @property
    def thread(self) -> int | None:
        """Identifier of the thread of the loop."""
        return None if self._thread is None else self._thread.ident

    def close(self) -> None:
        """Cancel what user code has left on the loop, and end the thread if the loop is not held."""
        self._closing = True
        self._inbox.post(self._loop.stop)
        if self._thread is not None:
            self._thread.join(0 if self.is_held else 2 * CLOSE_SECONDS)

    def _begin(self, run: Run) -> None:
        try:
            run.task = self._loop.create_task(run.execute(), context=run.context)
        except BaseException:  # noqa: BLE001 - the task factory of user code
            _log.exception("task not created")
            run.withdraw()

    def _cancel(self, run: Run) -> None:
        if not run.begun:
            run.withdraw()
        elif run.task is not None:
            run.task.cancel()

    def _answer(self, asked_at: float) -> None:
        self.lag_seconds = time.monotonic() - asked_at
        self._asked_at = None

    def _run_forever(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException:  # noqa: BLE001 - SystemExit and the like, in a task or callback that a handler started
                _log.exception("a background task of a handler tried to end the process")
        with suppress(Exception):
            self._loop.run_until_complete(_end_leftover_tasks())
        self._loop.close()


async def _end_leftover_tasks() -> None:
    leftover = asyncio.all_tasks() - {asyncio.current_task()}
    for task in leftover:
        task.cancel()
    if leftover:
        await asyncio.wait(leftover, timeout=CLOSE_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()
