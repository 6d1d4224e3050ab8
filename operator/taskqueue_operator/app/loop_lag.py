"""Measures how long the event loop is held, and names what holds it.

A heartbeat on the loop measures its own delay. A thread samples the stack of the loop's thread when a heartbeat is
overdue: so even a stretch that never ends is named in the log.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from taskqueue_operator.resource.allowance import Allowance

HEARTBEAT_SECONDS: Final = 0.02
"""A stretch is measured too short by at most this."""
LONG_STRETCH_SECONDS: Final = 0.25
"""A longer stretch is named in the log."""
SAMPLE_SECONDS: Final = 0.1
"""Time between two looks of the thread."""
STACK_FRAMES: Final = 12
"""Innermost frames of a stretch in its log line."""
LOG_LINES_PER_SECOND: Final = 0.1
LOG_LINES_AT_ONCE: Final = 5

_log = structlog.get_logger("loop")


class LoopLag:
    """The delay of a heartbeat on the running loop.

    Create it in the loop's thread.
    """

    def __init__(self, observe: Callable[[float], None]) -> None:
        """`observe` receives each delay, in seconds."""
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._due_at = time.monotonic()
        self._named_at = self._due_at
        self._handle: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._log_lines = Allowance(per_second=LOG_LINES_PER_SECOND, at_once=LOG_LINES_AT_ONCE)

    def start(self) -> None:
        """Start to measure."""
        self._schedule()
        threading.Thread(target=self._watch, name="loop lag", daemon=True).start()

    def stop(self) -> None:
        """Stop."""
        self._ended.set()
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self) -> None:
        self._due_at = time.monotonic() + HEARTBEAT_SECONDS
        self._handle = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._observe(max(0.0, time.monotonic() - self._due_at))
        self._schedule()

    def _watch(self) -> None:
        """Name each long stretch once, while it lasts."""
        while not self._ended.wait(SAMPLE_SECONDS):
            due_at, now = self._due_at, time.monotonic()
            if now - due_at > LONG_STRETCH_SECONDS and due_at != self._named_at:
                self._named_at = due_at
                if self._log_lines.take(now):
                    self._name(now - due_at)

    def _name(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  documented, in spite of its name
        stack = traceback.extract_stack(frame)[-STACK_FRAMES:] if frame is not None else []
        task = asyncio.current_task(self._loop)
        _log.warning(
            "event loop held",
            seconds=round(seconds, 3),
            task=task.get_name() if task is not None else None,
            stack=[f"{call.filename.rpartition('site-packages/')[2]}:{call.lineno} {call.name}" for call in stack],
        )


@contextmanager
def measured_loop(observe: Callable[[float], None]) -> Iterator[None]:
    """Measure the running loop while the context lasts."""
    lag = LoopLag(observe)
    lag.start()
    try:
        yield
    finally:
        lag.stop()
