"""Runs the handler of a delivery, with a timeout. All of it is on the connection's loop, except the handler."""

import asyncio
import contextvars
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from .batches.gathering import first_of
from .bridge import Inbox
from .delivery import Delivery
from .failure import Failure
from .handler_loop import HandlerLoop
from .middleware import Call, Refusals, run_around
from .payload import PayloadError
from .pools.child_exit import EndReason
from .publishing.task_publisher import TaskPublisher
from .run import Run
from .run_outcome import Outcome, Status
from .selection import ExpiredError, UnknownTypeError, UnknownVersionError, select
from .tasks import Context, Handler, Registry
from .thread_pool import ThreadPool

if TYPE_CHECKING:
    from .pools.process_pool import ProcessCall, ProcessPool

STOP_GRACE_SECONDS: Final = 5
"""How long a cancelled handler may clean up."""


class Runner:
    """Selects the handler of a delivery and runs it, on the loop of the handlers or in a thread."""

    def __init__(  # noqa: PLR0913 - the parts of a runner
        self,
        registry: Registry,
        handlers: HandlerLoop,
        inbox: Inbox,
        publisher: TaskPublisher,
        processes: "ProcessPool | None" = None,
        *,
        timeout_seconds: float,
        threads: int,
    ) -> None:
        """Start with no task.

        Args:
            registry: The handlers.
            handlers: The loop of `async def` handlers.
            inbox: The one of this loop, which the threads of the handlers post to.
            publisher: What handlers publish by.
            processes: Runs the tasks of `pool="process"`; None lets threads run them.
            timeout_seconds: Timeout of a task.
            threads: Number of threads: as many as tasks may run at once.
        """
        self._registry = registry
        self._refusals = Refusals(registry)
        self._handlers = handlers
        self._timeout = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._inbox = inbox
        self._publisher = publisher
        self._is_cancelling = False
        self._threads = ThreadPool(threads)
        self._processes = processes
        self._running: dict[Run, Delivery] = {}

    @property
    def refused_seconds(self) -> float:
        """For how long every handler refuses its tasks, at most; 0 if one of them does not."""
        return self._refusals.refused_seconds

    @property
    def holder(self) -> Delivery | None:
        """The delivery whose handler runs on the loop of the handlers at this moment, if any."""
        current = first_of(self._handlers.current)
        if current is None:
            return None
        return next((delivery for run, delivery in self._running.items() if run.task is current), None)

    def cancel_running(self) -> None:
        """Cancel the running handlers, and every handler that would start."""
        self._is_cancelling = True
        for run in self._running:
            run.wake()

    def let_batches_wait(self, *, may_wait: bool) -> None:
        """Whether a batch may wait for further messages: not if none can start."""
        for handler in self._registry:
            if handler.collector is not None:
                self._handlers.post(handler.collector.let_wait, may_wait)

    def notice_ends(self) -> None:
        """Notice at once which tasks have ended: a handler may hold the loop of the handlers before that tells it."""
        self._inbox.deliver()

    async def run(self, delivery: Delivery) -> Outcome:
        """Run the task. Errors of the handler or the publisher are in the outcome, never raised."""
        try:
            handler = select(self._registry, delivery, datetime.now(UTC))
            payload = delivery.payload()
        except (UnknownTypeError, UnknownVersionError, ExpiredError, PayloadError) as error:
            return Outcome.refused(error)
        timeout = self._timeout if handler.timeout is None else handler.timeout
        outcome = await self._wait_for(self._start(handler, payload, delivery, timeout), timeout)
        if outcome.failure is None or handler.retry is None:
            return outcome
        return replace(outcome, rule=handler.retry.of(outcome.failure.error_type))

    def attempts_of(self, delivery: Delivery) -> int | None:
        """Return the attempts that the task declares, if it does."""
        try:
            retry = select(self._registry, delivery, datetime.now(UTC)).retry
        except (UnknownTypeError, UnknownVersionError, ExpiredError, PayloadError):
            return None
        return None if retry is None else retry.attempts

    def _context(self, delivery: Delivery, timeout: float) -> Context:
        return Context(
            task_id=delivery.task_id,
            type=delivery.type,
            routing_key=delivery.routing_key,
            headers=delivery.headers,
            redelivered=delivery.redelivered or delivery.attempt.number > 1,
            deadline=datetime.now(UTC) + timedelta(seconds=timeout),
            attempt=delivery.attempt.number,
            draining=self._handlers.draining,
            state=self._handlers.state,
            publish_from=partial(self._publisher.submit, delivery),
            log=structlog.get_logger("task").bind(task_id=delivery.task_id, type=delivery.type),
        )

    def _start(self, handler: Handler, payload: object, delivery: Delivery, timeout: float) -> Run:
        context = self._context(delivery, timeout) if handler.wants_context or handler.around else None
        arguments = (payload, context) if handler.wants_context else (payload,)
        in_child = self._processes if handler.in_child else None
        process = None if in_child is None else _call_in_child(in_child, handler)
        # Neither another loop nor a thread inherits context variables.
        run = Run(process or handler.function, arguments, contextvars.copy_context(), self._inbox)
        run.process, run.validate = process, handler.validate
        self._running[run] = delivery
        if handler.around and context is not None:
            proceed = run.call_on_loop if handler.is_coroutine else partial(self._threads.proceed, run)
            run.around = lambda payload: run_around(Call(context, payload, handler), proceed)
        if handler.is_coroutine or handler.around:
            self._handlers.start(run)
        else:
            self._threads.start(run)
        return run

    async def _wait_for(self, run: Run, timeout: float) -> Outcome:  # noqa: ASYNC109 - of the run, which it cancels
        timer = self._loop.call_later(0 if self._is_cancelling else timeout, run.wake)
        await run.woken
        timer.cancel()
        if not run.ended.done():
            self.notice_ends()
        if run.ended.done():
            del self._running[run]
            return Outcome.of(run)
        run.ended.add_done_callback(lambda _: self._running.pop(run))
        is_held_up = self._is_held_up(run)
        self._cancel(run)
        await asyncio.wait({run.ended}, timeout=STOP_GRACE_SECONDS)
        if self._is_cancelling:
            return Outcome.interrupted(run) if run.ended.done() else Outcome(Status.ABANDONED, still_running=run)
        return self._overdue(run, timeout, is_held_up=is_held_up)

    def _cancel(self, run: Run) -> None:
        self._handlers.cancel(run)
        if run.process is not None:
            run.process.cancel(EndReason.CANCELLED if self._is_cancelling else EndReason.TIMEOUT)

    def _overdue(self, run: Run, timeout: float, *, is_held_up: bool) -> Outcome:
        still_running = None if run.ended.done() else run
        # A child may start late because the import of the task modules takes long: its slot is free after that.
        is_lost = still_running is not None and not is_held_up and not run.is_starting
        if not is_held_up and run.has_begun:
            error = TimeoutError(f"The task ran longer than {timeout:g} s.")
            return Outcome(Status.TIMEOUT, Failure.of(error), still_running, is_lost)
        # Its handler is not at fault. It does not go on either: its cancellation is the next that reaches it.
        return (
            Outcome.interrupted(run)
            if still_running is None
            else Outcome(Status.REQUEUED, None, still_running, is_lost)
        )

    def _is_held_up(self, run: Run) -> bool:
        """Whether the handler of another delivery holds the loop on which this one runs."""
        is_on_loop = run.thread in {None, self._handlers.thread}
        holder = self.holder if is_on_loop and self._handlers.is_held else None
        return holder is not None and holder is not self._running.get(run)


def _call_in_child(processes: "ProcessPool", handler: Handler) -> "ProcessCall":
    return processes.call(handler.type, handler.version, wants_result=bool(handler.around))
