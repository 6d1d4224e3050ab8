"""Runs the handler of one delivery, within its time."""

import asyncio
import contextvars
import inspect
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog

from .delivery import Delivery
from .tasks import Context, Handler, Registry

STOP_GRACE_SECONDS = 5
"""How long a cancelled handler has to clean up."""


class Status(StrEnum):
    """How a task ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PAYLOAD = "invalid_payload"
    GIVEN_BACK = "requeued"
    """The worker was hurried: the handler was cancelled, the message goes back to its queue."""
    ABANDONED = "abandoned"
    """As requeued, but the handler did not stop. Only the end of the process may give its message back."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: Status
    error: BaseException | None = None
    still_running: "asyncio.Future[Any] | None" = None
    """The handler, when it was told to stop and did not."""


class UnknownTypeError(Exception):
    """No handler is registered for the type of a message."""


class HandlerExitError(Exception):
    """A handler asked for the end of the whole process, which is not its to ask."""


class NotRunError(Exception):
    """A handler returned what would have had to be awaited, so its task was not done."""


class Runner:
    """Finds the handler of a delivery and runs it, on the event loop or in a thread."""

    def __init__(self, registry: Registry, *, timeout_seconds: float, threads: int, draining: asyncio.Event) -> None:
        self._registry = registry
        self._timeout = timeout_seconds
        self._draining = draining
        self._hurry: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="task")

    def hurry(self) -> None:
        """Stop what runs, and everything that would start."""
        if not self._hurry.done():
            self._hurry.set_result(None)

    async def run(self, delivery: Delivery) -> Outcome:
        """Do the task. Never raises for what a handler or a publisher did wrong."""
        handler = self._registry.get(delivery.type)
        if handler is None:
            known = ", ".join(sorted(h.type for h in self._registry))
            error = UnknownTypeError(f"No handler for task type {delivery.type!r}. This worker knows: {known}.")
            return Outcome(Status.UNKNOWN_TYPE, error)
        try:
            payload = delivery.payload()
        except ValueError as error:
            return Outcome(Status.INVALID_PAYLOAD, error)
        return await self._watch(self._start(handler, payload, self._context(delivery)))

    def _context(self, delivery: Delivery) -> Context:
        message = delivery.message
        return Context(
            task_id=delivery.task_id,
            type=delivery.type,
            routing_key=message.routing_key or "",
            headers=message.headers,
            redelivered=bool(message.redelivered),
            deadline=datetime.now(UTC) + timedelta(seconds=self._timeout),
            draining=self._draining,
            log=structlog.get_logger("task").bind(task_id=delivery.task_id, type=delivery.type),
        )

    def _start(self, handler: Handler, payload: object, context: Context) -> "asyncio.Future[Any]":
        arguments = handler.arguments(payload, context)
        if handler.is_coroutine:
            return asyncio.ensure_future(_contained(handler.function(*arguments)))
        # A thread does not inherit the context variables by itself.
        in_context = contextvars.copy_context().run
        return asyncio.get_running_loop().run_in_executor(self._threads, in_context, handler.function, *arguments)

    async def _watch(self, work: "asyncio.Future[Any]") -> Outcome:
        await asyncio.wait({work, self._hurry}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return _judge(work)
        hurried = self._hurry.done()
        # A thread cannot be cancelled; the future that stands for it would only look as if.
        if isinstance(work, asyncio.Task):
            work.cancel()
        await asyncio.wait({work}, timeout=STOP_GRACE_SECONDS)
        still_running = None if work.done() else work
        if not hurried:
            error = TimeoutError(f"The task ran longer than {self._timeout:g} s.")
            return Outcome(Status.TIMEOUT, error, still_running)
        if still_running is not None:
            return Outcome(Status.ABANDONED, None, still_running)
        return Outcome(Status.GIVEN_BACK) if work.cancelled() else _judge(work)


async def _contained(work: Coroutine[Any, Any, object]) -> object:
    try:
        return await work
    except SystemExit as error:
        # asyncio would let it through and end the process with the message unsettled, over and over.
        raise HandlerExitError("The handler called sys.exit().") from error


def _judge(work: "asyncio.Future[Any]") -> Outcome:
    if work.cancelled():
        return Outcome(Status.FAILED, asyncio.CancelledError("The handler cancelled itself."))
    if (error := work.exception()) is not None:
        return Outcome(Status.FAILED, error)
    result = work.result()
    if inspect.iscoroutine(result):
        # As by a plain decorator around an `async def`: to acknowledge would lose the task in silence.
        result.close()
        return Outcome(
            Status.FAILED, NotRunError("The handler returned a coroutine: make its wrapper `async def` too.")
        )
    return Outcome(Status.DONE)
