"""A queue of keys: each at most once, none worked on twice at a time, failures retried with backoff.

Each group of keys, such as those of one tenant or of one broker, has a share of the slots.
"""

import asyncio
import heapq
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import Conflict, Fault
from taskqueue_operator.resource.names import Key

from .clock import now
from .slots import NAMESPACE_SHARE, Entry, Slots

MAX_BACKOFF_SECONDS: Final = 30.0
BACKOFF: Final = Backoff(first_seconds=1.0, longest_seconds=MAX_BACKOFF_SECONDS)

EVENT_LOST_SECONDS: Final = 30.0
"""When a key that waits for an event is tried again without it."""

_BEGUN: Final = -math.inf
"""When a key is due that was worked on already and has waited without a slot: before all that have not begun."""

Work = Callable[[Key], Awaitable[float | None]]
Jitter = Callable[[float, float], float]


class RetryLater(Exception):
    """The work is not done and is to be retried with backoff; the reason is recorded already."""


class WaitForEvent(RetryLater):
    """The work cannot be done before an event, which adds the key again."""


class WorkQueue:
    """Runs `work(key)` for every key added, as many at once as there are slots.

    `work` returns None when the key is done, or the seconds after which it is due again. What `work` raises is logged
    (except RetryLater and Conflict, which are no errors), and the key is retried with exponential backoff. A success
    resets the backoff only if the last Fault is older than `backoff_reset_seconds`; otherwise a multi-step job whose
    first step always succeeds would retry its failing step without delay.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        slots: Slots,
        *,
        backoff_reset_seconds: float = 0.0,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.name = name
        self._work = work
        self._slots = slots
        self._backoff_reset_seconds = backoff_reset_seconds
        self._jitter = jitter
        self._free = asyncio.Semaphore(slots.total)
        self._due: dict[Key, float] = {}
        self._heap: list[Entry] = []
        self._running: set[Key] = set()
        self._due_while_running: set[Key] = set()
        self._resuming: dict[Key, asyncio.Future[None]] = {}
        self._requested: dict[Key, float] = {}
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
        heapq.heappush(self._heap, Entry(due, key))
        self._changed.set()

    def add_unless_backing_off(self, key: Key, delay: float = 0.0) -> None:
        """Make a key due after `delay` seconds, also of the present run; a key that failed keeps its backoff."""
        if key in self._running:
            self._requested[key] = min(delay, self._requested.get(key, delay))
        elif key not in self._failures or key not in self._due:
            self.add(key, delay)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._reset_backoff(key)
        self._due.pop(key, None)
        self._due_while_running.discard(key)
        self._requested.pop(key, None)

    async def wait_idle(self, timeout: float) -> None:  # noqa: ASYNC109  running out of time is no error here
        """Wait until no key is due and at most the share of one namespace is worked on, at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    @asynccontextmanager
    async def without_slot(self, key: Key) -> AsyncIterator[None]:
        """Give the slot of a key that is worked on to other keys, and wait for a slot again at the end.

        It is for what many keys wait for together, and what takes no longer for many of them: a shared request.
        """
        self._release(key)
        yield
        resumed = self._resuming[key] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, Entry(_BEGUN, key))
        self._changed.set()
        await resumed

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                key = await self._next()
                self._idle.clear()
                if key in self._resuming:
                    self._resuming.pop(key).set_result(None)
                else:
                    self._running.add(key)
                    group.create_task(self._run(key), name=f"{self.name} {key}")
                # Otherwise all slots start in one piece, and hold the event loop together.
                await asyncio.sleep(0)

    async def _next(self) -> Key:
        while True:
            for entry in self._slots.ready():
                heapq.heappush(self._heap, entry)
            wait = self._heap[0].due - now() if self._heap else None
            if wait is None or wait > 0:
                await self._wait_for_change(wait)
                continue
            entry = heapq.heappop(self._heap)
            if self._can_start(entry):
                return entry.key

    def _can_start(self, entry: Entry) -> bool:
        """Whether to work on a key now; otherwise it waits for its present run, or for a slot of its group."""
        if entry.due == _BEGUN:
            return self._slots.take(entry)
        if self._due.get(entry.key) != entry.due:
            return False
        if entry.key in self._running:
            del self._due[entry.key]
            self._due_while_running.add(entry.key)
            return False
        if not self._slots.take(entry):
            return False
        del self._due[entry.key]
        return True

    async def _wait_for_change(self, wait: float | None) -> None:
        self._changed.clear()
        self._update_idle()
        with suppress(TimeoutError):  # then the next key is due
            async with asyncio.timeout(wait):
                await self._changed.wait()

    def _update_idle(self) -> None:
        is_due = self._heap and self._heap[0].due <= now()
        if not is_due and len(self._running) <= self._slots.share(NAMESPACE_SHARE):
            self._idle.set()

    async def _run(self, key: Key) -> None:
        failed = True
        try:
            delay = await self._work(key)
            if now() - self._failed_at.get(key, -math.inf) >= self._backoff_reset_seconds:
                self._reset_backoff(key)
            failed = False
        except WaitForEvent:
            delay = EVENT_LOST_SECONDS
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
            self._release(key)
            self._update_idle()
        self._add_again(key, delay, failed=failed)

    def _release(self, key: Key) -> None:
        """Give the slot of a key to other keys; it has none if it was cancelled while it waited without one."""
        if self._slots.release(key):
            self._free.release()
            self._changed.set()

    def _add_again(self, key: Key, delay: float | None, *, failed: bool) -> None:
        requested = self._requested.pop(key, None)
        if key in self._due_while_running:
            self._due_while_running.discard(key)
            delay = 0.0
        elif requested is not None and not failed:
            delay = requested if delay is None else min(requested, delay)
        if delay is not None:
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
