"""Runs the handler of a delivery, with a timeout."""

import asyncio
import contextvars
import inspect
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import structlog

from .delivery import Delivery
from .payload import PayloadError
from .tasks import Context, Handler, Registry

STOP_GRACE_SECONDS: Final = 5
"""How long a cancelled handler may clean up."""


class Status(StrEnum):
    """How a task ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PAYLOAD = "invalid_payload"
    WORKER_LOST = "worker_lost"
    """Its attempts are used, and the worker was lost during the last one: the task did not run again."""
    REQUEUED = "requeued"
    """Running tasks were cancelled: the handler stopped, the message returns to its queue."""
    ABANDONED = "abandoned"
    """Running tasks were cancelled, but the handler did not stop. The message returns when the process ends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run."""

    status: Status
    error: BaseException | None = None
    still_running: "asyncio.Future[Any] | None" = None
    """The handler, if it was cancelled and did not stop."""


class UnknownTypeError(Exception):
    """No handler is registered for the type of a message."""


class HandlerExitError(Exception):
    """A handler called `sys.exit()`. Its task fails; the process continues."""


class NotRunError(Exception):
    """A handler returned a coroutine that was not awaited, so its task was not done."""


class Runner:
    """Selects the handler of a delivery and runs it, on the event loop or in a thread."""

    def __init__(self, registry: Registry, *, timeout_seconds: float, threads: int, draining: asyncio.Event) -> None:
        self._registry = registry
        self._timeout = timeout_seconds
        self._draining = draining
        self._cancel_requested: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="task")

    def cancel_running(self) -> None:
        """Cancel the running handlers, and every handler that would start."""
        if not self._cancel_requested.done():
            self._cancel_requested.set_result(None)

    async def run(self, delivery: Delivery) -> Outcome:
        """Run the task. Errors of the handler or the publisher are in the outcome, never raised."""
        handler = self._registry.get(delivery.type)
        if handler is None:
            known = ", ".join(sorted(handler.type for handler in self._registry))
            error = UnknownTypeError(
                f"No handler for task type {delivery.type!r}. This worker has handlers for: {known}. "
                "Register one with @task, or correct the type of the message."
            )
            return Outcome(Status.UNKNOWN_TYPE, error)
        try:
            payload = delivery.payload()
        except PayloadError as error:
            return Outcome(Status.INVALID_PAYLOAD, error)
        return await self._wait_for(self._start(handler, payload, self._context(delivery)))

    def _context(self, delivery: Delivery) -> Context:
        message = delivery.message
        return Context(
            task_id=delivery.task_id,
            type=delivery.type,
            routing_key=delivery.routing_key,
            headers=message.headers,
            redelivered=delivery.redelivered,
            deadline=datetime.now(UTC) + timedelta(seconds=self._timeout),
            draining=self._draining,
            log=structlog.get_logger("task").bind(task_id=delivery.task_id, type=delivery.type),
        )

    def _start(self, handler: Handler, payload: object, context: Context) -> "asyncio.Future[Any]":
        arguments = handler.arguments(payload, context)
        if handler.is_coroutine:
            return asyncio.ensure_future(_without_exit(handler.function(*arguments)))
        # A thread does not inherit context variables.
        run_in_context = contextvars.copy_context().run
        return asyncio.get_running_loop().run_in_executor(self._threads, run_in_context, handler.function, *arguments)

    async def _wait_for(self, work: "asyncio.Future[Any]") -> Outcome:
        await asyncio.wait({work, self._cancel_requested}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return _outcome(work)
        timed_out = not self._cancel_requested.done()
        # A thread cannot be cancelled, only its future.
        if isinstance(work, asyncio.Task):
            work.cancel()
        await asyncio.wait({work}, timeout=STOP_GRACE_SECONDS)
        still_running = None if work.done() else work
        if timed_out:
            error = TimeoutError(f"The task ran longer than {self._timeout:g} s.")
            return Outcome(Status.TIMEOUT, error, still_running)
        if still_running is not None:
            return Outcome(Status.ABANDONED, None, still_running)
        return Outcome(Status.REQUEUED) if work.cancelled() else _outcome(work)


async def _without_exit(work: Coroutine[Any, Any, object]) -> object:
    try:
        return await work
    except SystemExit as error:
        # asyncio would end the process with the message unsettled, again at each redelivery.
        raise HandlerExitError("The handler called sys.exit(). Return or raise an exception instead.") from error


def _outcome(work: "asyncio.Future[Any]") -> Outcome:
    if work.cancelled():
        return Outcome(Status.FAILED, asyncio.CancelledError("The handler cancelled itself."))
    if (error := work.exception()) is not None:
        return Outcome(Status.FAILED, error)
    result = work.result()
    if inspect.iscoroutine(result):
        # For example from a plain decorator around an `async def`. An acknowledgement would lose the task silently.
        result.close()
        return Outcome(
            Status.FAILED,
            NotRunError("The handler returned a coroutine. Make its wrapper `async def` and await the handler."),
        )
    return Outcome(Status.DONE)
