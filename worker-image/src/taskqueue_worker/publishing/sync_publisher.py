"""Publishes tasks from code that is not asynchronous, such as Flask and Django."""

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack
from uuid import uuid4

from taskqueue_drain.broker import BrokerSource

from .errors import PublishFailedError
from .publisher import Publisher
from .task_message import TaskOptions

Result = TypeVar("Result")

MARGIN_SECONDS: Final = 1
"""How much longer a thread waits than the publisher does, which tells more precisely what happened."""


class PublisherThread:
    """A `Publisher` on the event loop of a thread of its own, which also answers heartbeats while nothing is published.

    Threads of the application submit calls; all that belongs to the connection happens in this thread.
    """

    def __init__(self, make: Callable[[], Publisher], timeout_seconds: float) -> None:
        self._publisher = make()
        self._timeout = timeout_seconds + MARGIN_SECONDS
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="taskqueue-publisher", daemon=True)
        self._thread.start()

    def call(self, work: Callable[[Publisher], Coroutine[Any, Any, Result]]) -> Result:
        """Run a call in the thread, and wait for its result.

        Raises:
            PublishFailedError: It did not end in time, or the publisher was closed meanwhile.
        """
        call = work(self._publisher)
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError as error:
            call.close()
            raise PublishFailedError("Not published: the publisher was closed.") from error
        try:
            return future.result(self._timeout)
        except (TimeoutError, CancelledError) as error:
            raise PublishFailedError("Not confirmed. Publish again with the same message_id.") from error
        finally:
            future.cancel()  # for example if the server ends a request that waits

    def close(self) -> None:
        """Close the connection and end the thread; a finalizer that runs in this thread does not wait for it."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stopping.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stopping.wait()
        await self._publisher.close()


class SyncPublisher:
    """Publishes tasks from threads, with the guarantees and the errors of `Publisher`.

    It connects with the first publish. It may be made when a module is imported, and used by all threads. A process
    that is forked gets a connection of its own: it never writes to the one of its parent.
    """

    def __init__(
        self,
        broker: str | BrokerSource,
        *,
        name: str = "taskqueue-publisher",
        in_flight: int = 100,
        timeout_seconds: float = 10,
    ) -> None:
        """Make a publisher, without a connection. The arguments are those of `Publisher`."""
        self._make = partial(Publisher, broker, name=name, in_flight=in_flight, timeout_seconds=timeout_seconds)
        self._timeout = timeout_seconds
        # By process: a child has what its parent had, but not its thread, and perhaps a lock that nothing releases.
        # What belongs to the parent stays referenced in the child. A finalizer would change the parent's connection.
        self._threads: dict[int, PublisherThread] = {}
        self._locks: dict[int, threading.Lock] = {}
        weakref.finalize(self, _close, self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, exchange: str, routing_key: str, payload: object, **options: Unpack[TaskOptions]) -> str:
        """Publish one task and return its `message_id`. See `Publisher.publish`.

        Raises:
            UnroutableError: No queue would receive the message.
            PublishFailedError: The broker did not confirm the message, or refused it. The error has the `message_id`.
            PayloadError: The payload contains NaN or an infinite number, which JSON does not have.
            TypeError: The payload cannot be encoded as JSON, or an option is missing or unknown.
            ValueError: An option is not valid.
            RuntimeError: The caller runs on an event loop, or threads are those of gevent or eventlet.
        """
        _refuse_event_loop()
        message_id = options["message_id"] = options.get("message_id") or str(uuid4())
        try:
            return self._thread().call(lambda publisher: publisher.publish(exchange, routing_key, payload, **options))
        except PublishFailedError as error:
            error.message_id = message_id
            raise

    def close(self) -> None:
        """Close the connection of this process, if there is one. The next publish opens it again."""
        with self._lock():
            _close(self._threads)

    def _thread(self) -> PublisherThread:
        with self._lock():
            process = os.getpid()
            if process not in self._threads:
                _refuse_green_threads()
                self._threads[process] = PublisherThread(self._make, self._timeout)
            return self._threads[process]

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())


def _close(threads: dict[int, PublisherThread]) -> None:
    if (thread := threads.pop(os.getpid(), None)) is not None:
        thread.close()


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("SyncPublisher would block the event loop. Await the publish of a Publisher instead.")


def _refuse_green_threads() -> None:
    """Refuse threads that are none: one call that waits would keep the connection from its heartbeats."""
    patches = {"gevent.monkey": ("is_module_patched", "threading"), "eventlet.patcher": ("is_monkey_patched", "thread")}
    for module, (function, name) in patches.items():
        if module in sys.modules and getattr(sys.modules[module], function)(name):
            raise RuntimeError(f"SyncPublisher needs threads, and {module} has replaced them. Use gunicorn's gthread.")
