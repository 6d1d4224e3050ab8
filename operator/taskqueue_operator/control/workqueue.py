"""A queue of keys: each at most once, none worked on twice at a time, failures retried with backoff."""

import asyncio
import heapq
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import Conflict, Fault
from taskqueue_operator.resource.names import Key

from .clock import now

MAX_BACKOFF_SECONDS: Final = 30.0
BACKOFF: Final = Backoff(first_seconds=1.0, longest_seconds=MAX_BACKOFF_SECONDS)

Work = Callable[[Key], Awaitable[float | None]]
Jitter = Callable[[float, float], float]


class RetryLater(Exception):
    """The work is not done and is to be retried with backoff; the reason is recorded already."""


class WorkQueue:
    """Runs `work(key)` for every key added, `workers` of them at once.

    `work` returns None when the key is done, or the seconds after which it is due again. What `work` raises is logged
    (except RetryLater and Conflict, which are no errors), and the key is retried with exponential backoff. A success
    resets the backoff only if the last Fault is older than `backoff_reset_seconds`; otherwise a multi-step job whose
    first step always succeeds would retry its failing step without delay.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        workers: int,
        backoff_reset_seconds: float = 0.0,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.name = name
        self._work = work
        self._backoff_reset_seconds = backoff_reset_seconds
        self._jitter = jitter
        self._slots = asyncio.Semaphore(workers)
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._running: set[Key] = set()
        self._due_while_running: set[Key] = set()
        self._requested: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._failed_at: dict[Key, float] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger(self.name)

    def __len__(self) -> int:
        """Count the keys that wait or are being worked on."""
        return len(self._due.keys() | self._running)

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Make a key due after `delay` seconds; has no effect if the key is due earlier."""
        # Whole milliseconds: a timer needs no finer resolution.
        due = round(now() + delay, 3)
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._changed.set()

    def add_unless_backing_off(self, key: Key) -> None:
        """Make a key due now, or once more after the present run; a key that failed keeps its backoff."""
        if key in self._running:
            self._requested.add(key)
        elif key not in self._failures or key not in self._due:
            self.add(key)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._reset_backoff(key)
        self._due.pop(key, None)
        self._due_while_running.discard(key)
        self._requested.discard(key)

    async def wait_idle(self, timeout: float) -> None:  # noqa: ASYNC109  running out of time is no error here
        """Wait until no key is due or being worked on, at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                key = await self._next()
                self._running.add(key)
                self._idle.clear()
                group.create_task(self._run(key), name=f"{self.name} {key}")

    async def _next(self) -> Key:
        while True:
            wait = self._heap[0][0] - now() if self._heap else None
            if wait is not None and wait <= 0:
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue
                del self._due[key]
                if key not in self._running:
                    return key
                self._due_while_running.add(key)
            else:
                await self._wait_for_change(wait)

    async def _wait_for_change(self, wait: float | None) -> None:
        self._changed.clear()
        self._update_idle()
        with suppress(TimeoutError):  # then the next key is due
            async with asyncio.timeout(wait):
                await self._changed.wait()

    def _update_idle(self) -> None:
        is_due = self._heap and self._heap[0][0] <= now()
        if not (is_due or self._running):
            self._idle.set()

    async def _run(self, key: Key) -> None:
        failed = True
        try:
            delay = await self._work(key)
            if now() - self._failed_at.get(key, -math.inf) >= self._backoff_reset_seconds:
                self._reset_backoff(key)
            failed = False
        except (RetryLater, Conflict):
            delay = self._next_delay(key)
        except Fault as fault:  # its message explains it: no stack trace
            self._failed_at[key] = now()
            delay = self._next_delay(key)
            self._log.warning("failed", taskqueue=str(key), reason=fault.reason, detail=fault.message)
        except Exception:  # noqa: BLE001  the failure of one key must never stop the others
            delay = self._next_delay(key)
            self._log.exception("failed", taskqueue=str(key), again_in_seconds=round(delay, 1))
        finally:
            self._running.discard(key)
            self._update_idle()
            self._slots.release()
        self._add_again(key, delay, failed=failed)

    def _add_again(self, key: Key, delay: float | None, *, failed: bool) -> None:
        due_now = key in self._due_while_running or (key in self._requested and not failed)
        self._due_while_running.discard(key)
        self._requested.discard(key)
        if due_now:
            self.add(key)
        elif delay is not None:
            self.add(key, delay)

    def _reset_backoff(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._failed_at.pop(key, None)

    def _next_delay(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return self._jitter(0, BACKOFF.seconds(failures))


@dataclass(frozen=True, slots=True)
class WorkQueues:
    """The work queues, one per writer of the operator."""

    reconcile: WorkQueue
    scale: WorkQueue
    status: WorkQueue

    def __iter__(self) -> Iterator[WorkQueue]:
        """Iterate over all of them."""
        return iter((self.reconcile, self.scale, self.status))

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        for queue in self:
            queue.forget(key)
