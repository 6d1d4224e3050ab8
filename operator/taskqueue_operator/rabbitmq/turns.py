"""A rate of the process that namespaces share equally."""

import asyncio
import math
from collections import deque

from .clock import loop_time


class Turns:
    """Gives turns at a limited rate, to each namespace in turn: none delays another one by more than one turn."""

    def __init__(self, per_second: float, *, at_once: float = 0.0) -> None:
        """`at_once` turns are given without a pause after a time without any."""
        self._interval = 1 / per_second
        self._saved_seconds = at_once * self._interval
        self._free_at = -math.inf
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    async def wait(self, namespace: str) -> None:
        """Wait for the next turn of a namespace."""
        now = loop_time()
        if not self._lines and self._free_at <= now:
            self._use(now)
            return
        turn = asyncio.get_running_loop().create_future()
        if not self._lines:
            self._schedule()
        self._lines.setdefault(namespace, deque()).append(turn)
        await turn

    def _use(self, now: float) -> None:
        self._free_at = max(self._free_at, now - self._saved_seconds) + self._interval

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_at(self._free_at, self._give)

    def _give(self) -> None:
        while self._lines:
            namespace = next(iter(self._lines))
            line = self._lines.pop(namespace)
            turn = line.popleft()
            if line:
                self._lines[namespace] = line  # the last in turn
            if not turn.done():  # otherwise its caller was cancelled
                turn.set_result(None)
                self._use(loop_time())
                break
        if self._lines:
            self._schedule()
