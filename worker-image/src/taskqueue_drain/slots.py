"""The slots of a worker: threads that run handlers, and the messages that wait for one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from .activity import Activity
from .protocol import Figures
from .protocol_log import log
from .wish import Wish


class Received(Hashable, Protocol):
    """A message that was delivered."""

    @property
    def is_lost(self) -> bool:
        """Whether its channel is closed: the broker delivers it again."""


R = TypeVar("R", bound=Received)


class Slots(Generic[R]):
    """Runs as many handlers at once as there are slots. A slot takes one waiting message after the other."""

    def __init__(
        self, count: int, wish: Wish, handle: Callable[[R], object], on_end: Callable[[R, bool], None]
    ) -> None:
        """Run nothing yet.

        Args:
            count: Number of slots.
            wish: Whether the worker may consume.
            handle: Runs the handler of a message, on the thread of a slot.
            on_end: Called there when the handler has ended, with whether the task is done.
        """
        self._count = count
        self._wish = wish
        self._handle = handle
        self._on_end = on_end
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="task")
        self._lock = threading.Lock()
        self._busy = 0
        self._activity = Activity(time.monotonic())
        self._waiting: deque[R] = deque()

    # On any thread.

    def stop(self) -> None:
        """Wish that nothing begins: when this returns, no slot takes a message any more."""
        with self._lock:
            self._wish.ask(may_consume=False)

    def end(self) -> None:
        """The same for good."""
        with self._lock:
            self._wish.end()

    def figures(self) -> Figures:
        """Count for a report."""
        with self._lock:
            running = self._activity.running
            return self._activity.figures(time.monotonic(), in_flight=running, prefetched=len(self._waiting))

    # On the thread of the connection.

    @property
    def is_idle(self) -> bool:
        """Whether every message that was begun is settled."""
        return not self._activity.running

    def receive(self, delivery: R) -> None:
        """A message has arrived: begin it in a free slot, or let it wait."""
        with self._lock:
            self._drop_lost()
            self._waiting.append(delivery)
        self.fill()

    def fill(self) -> None:
        """Let free slots take what waits, if the worker may consume."""
        with self._lock:
            begun = min(self._count - self._busy, len(self._waiting)) if self._wish.may_consume else 0
            self._busy += begun
        for _ in range(begun):
            self._pool.submit(self._work)

    def withdraw(self) -> list[R]:
        """Return what waits and can be given back; it begins no more."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        return [delivery for delivery in waiting if not delivery.is_lost]

    def lose(self) -> None:
        """Forget what waits and is delivered again, because its channel is closed."""
        with self._lock:
            self._drop_lost()

    def settled(self, delivery: R, *, done: bool) -> None:
        """The message of a task that has ended is settled, or lost."""
        with self._lock:
            self._activity.settle(delivery, time.monotonic(), done=done)
            self._activity.end(delivery, time.monotonic())

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown()

    # On the threads of the slots.

    def _work(self) -> None:
        while (delivery := self._take()) is not None:
            self._on_end(delivery, self._is_done(delivery))

    def _take(self) -> R | None:
        """Take the next message, or free the slot."""
        with self._lock:
            self._drop_lost()
            if not self._waiting or not self._wish.may_consume:
                self._busy -= 1
                return None
            delivery = self._waiting.popleft()
            self._activity.begin(delivery, time.monotonic())
            return delivery

    def _is_done(self, delivery: R) -> bool:
        """Run the handler."""
        try:
            self._handle(delivery)
        except BaseException:  # noqa: BLE001 - what the handler raises, SystemExit too, ends its task and not the worker
            log.exception("the task failed")
            return False
        return True

    # With the lock.

    def _drop_lost(self) -> None:
        while self._waiting and self._waiting[0].is_lost:  # of the messages of a queue, the lost ones are the oldest
            self._waiting.popleft()
