"""A queue of keys: each at most once, none worked on twice at a time, failures back off with full jitter."""

import asyncio
import heapq
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from taskqueue_operator.control.observe.rounds import now
from taskqueue_operator.resource.faults import Conflict, Fault
from taskqueue_operator.resource.names import Key

FIRST_BACKOFF: Final = 1.0
LAST_BACKOFF: Final = 30.0

Work = Callable[[Key], Awaitable[float | None]]
Jitter = Callable[[float, float], float]


class RetryLater(Exception):
    """The work is not done and should be tried again with backoff; why is already on record."""


class WorkQueue:
    """Runs `work(key)` for every key added, `workers` of them at once.

    `work` returns None when it is done with the key for now, or the seconds after which it wants to see it again.
    What it raises is logged (except `Unsettled` and `Conflict`, which are no errors) and tried again after a growing,
    jittered delay. A success within `grudge` seconds of a Fault does not make up for it: where the work has several
    steps, one that fails is tried hot if the one before it succeeds each time.
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
        self._grudge = backoff_reset_seconds
        self._jitter = jitter
        self._slots = asyncio.Semaphore(workers)
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._offered: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._failed_at: dict[Key, float] = {}
        self._changed = asyncio.Event()
        self._still = asyncio.Event()
        self._still.set()
        self._log = structlog.get_logger(self.name)

    def __len__(self) -> int:
        """Count the keys that wait or are being worked on."""
        return len(self._due.keys() | self._running)

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Have a key worked on after `delay` seconds, or earlier if it is already due earlier."""
        # In whole milliseconds: no timer waits for the billionth part of a second.
        due = round(now() + delay, 3)
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._changed.set()

    def offer(self, key: Key) -> None:
        """Have a key worked on now, or once more after now, unless it has to wait out a failure: then it waits on."""
        if key in self._running:
            self._offered.add(key)
        elif key not in self._failures or key not in self._due:
            self.add(key)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._forgive(key)
        self._due.pop(key, None)
        self._again.discard(key)
        self._offered.discard(key)

    async def still(self, patience: float) -> None:
        """Wait until nothing is due or being worked on, but no longer than `patience` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._still.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                key = await self._next()
                self._running.add(key)
                self._still.clear()
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
                self._again.add(key)
            else:
                await self._change(wait)

    async def _change(self, wait: float | None) -> None:
        self._changed.clear()
        self._rest()
        with suppress(TimeoutError):  # then the next key is due
            async with asyncio.timeout(wait):
                await self._changed.wait()

    def _rest(self) -> None:
        overdue = self._heap and self._heap[0][0] <= now()
        if not (overdue or self._running):
            self._still.set()

    async def _run(self, key: Key) -> None:
        failed = True
        try:
            delay = await self._work(key)
            if now() - self._failed_at.get(key, -math.inf) >= self._grudge:
                self._forgive(key)
            failed = False
        except (RetryLater, Conflict):
            delay = self._backoff(key)
        except Fault as fault:  # says all there is to say, without a stack trace
            self._failed_at[key] = now()
            delay = self._backoff(key)
            self._log.warning("failed", taskqueue=str(key), reason=fault.reason, detail=fault.message)
        except Exception:  # noqa: BLE001  one key's failure must never stop the others
            delay = self._backoff(key)
            self._log.exception("failed", taskqueue=str(key), again_in_seconds=round(delay, 1))
        finally:
            self._running.discard(key)
            self._rest()
            self._slots.release()
        again = key in self._again or (key in self._offered and not failed)
        self._again.discard(key)
        self._offered.discard(key)
        if again:
            self.add(key)
        elif delay is not None:
            self.add(key, delay)

    def _forgive(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._failed_at.pop(key, None)

    def _backoff(self, key: Key) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        ceiling: float = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), LAST_BACKOFF)
        return self._jitter(0, ceiling)


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
