"""Names the handler that holds the loop of the handlers, or the whole interpreter."""

import asyncio
import faulthandler
import sys
import time

import structlog

from . import bounds
from .bounds import WATCH_PERIOD_SECONDS
from .handler_loop import HandlerLoop
from .metrics import Metrics
from .runner import Runner
from .stacks import stack_of_thread

_log = structlog.get_logger("watchdog")


class Watchdog:
    """Checks the loop of the handlers from the connection's loop.

    While a handler keeps the interpreter (C code that does not release the GIL), no other Python code runs, this
    included. `faulthandler` waits in a C thread, and then writes the stack of each thread to stderr.
    """

    def __init__(self, handlers: HandlerLoop, runner: Runner, metrics: Metrics) -> None:
        self._handlers = handlers
        self._runner = runner
        self._held_since: float | None = None
        self._lag_seconds = 0.0
        metrics.add_gauge("handlers_lag_seconds", lambda: handlers.lag_seconds)
        metrics.add_gauge("connection_lag_seconds", lambda: self._lag_seconds)
        metrics.add_gauge("handlers_held_seconds", lambda: handlers.held_seconds if handlers.is_held else 0)

    async def run(self) -> None:
        """Check until cancelled."""
        checked_at = time.monotonic()
        try:
            while True:
                faulthandler.dump_traceback_later(bounds.HELD_SECONDS, file=sys.stderr)
                await asyncio.sleep(WATCH_PERIOD_SECONDS)
                # Without a gap: the interpreter may be taken from this thread anywhere, also between two checks.
                before, checked_at = checked_at, time.monotonic()
                self._check_interpreter(checked_at - before)
                self._check_loop()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _check_interpreter(self, seconds: float) -> None:
        self._lag_seconds = max(0.0, seconds - WATCH_PERIOD_SECONDS)
        if seconds > bounds.HELD_SECONDS:
            _log.error("interpreter held", seconds=round(seconds, 3), stacks="on stderr")

    def _check_loop(self) -> None:
        self._runner.notice_ends()
        if not self._handlers.is_held:
            if self._held_since is not None:
                _log.warning("handlers released", seconds=round(time.monotonic() - self._held_since, 3))
            self._held_since = None
        elif self._held_since is None:
            self._held_since = time.monotonic() - self._handlers.held_seconds
            holder = self._runner.holder
            _log.error(
                "handlers held",
                seconds=round(self._handlers.held_seconds, 3),
                type=None if holder is None else holder.type,
                task_id=None if holder is None else holder.task_id,
                stack=stack_of_thread(self._handlers.thread),
            )
        self._handlers.check()
