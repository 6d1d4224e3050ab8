"""The threads of `def` handlers."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import structlog

_log = structlog.get_logger("runner")


class ThreadRun(Protocol):
    """A call of a `def` handler that tells its end itself."""

    def call(self) -> None:
        """Run it in this thread."""
        ...


class ThreadCall(Protocol):
    """A call of a `def` handler whose result is awaited."""

    def call_in_thread(self) -> object:
        """Run it in this thread."""
        ...


class ThreadPool:
    """Runs handlers in threads, which nothing can stop."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="task")

    def start(self, run: ThreadRun) -> None:
        """Call the handler of a run, from the connection's loop."""
        self._submit(run.call)

    async def proceed(self, run: ThreadCall) -> object:
        """Call the handler of a run that is surrounded, from the loop of the handlers; return its result.

        A cancellation waits for the end of a call that has begun: its slot is not free before.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_End] = loop.create_future()
        begin: Future[None] = Future()
        call = contextvars.copy_context().run

        def in_thread() -> None:
            if begin.set_running_or_notify_cancel():
                end = _end_of(lambda: call(run.call_in_thread))
                loop.call_soon_threadsafe(ended.set_result, end)

        self._submit(in_thread)
        while not ended.done():
            try:
                await asyncio.wait({ended})
            except asyncio.CancelledError:
                if begin.cancel():
                    raise
        result, error = ended.result()
        if error is not None:
            raise error
        return result

    def _submit(self, call: Callable[[], None]) -> None:
        try:
            self._threads.submit(call)
        except RuntimeError:  # no further thread: the call waits for one that becomes free
            _log.exception("no thread for a handler")


_End = tuple[object, BaseException | None]


def _end_of(call: Callable[[], object]) -> _End:
    # Neither kind of future carries each exception: StopIteration would be lost.
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - whatever user code raises
        return None, error
