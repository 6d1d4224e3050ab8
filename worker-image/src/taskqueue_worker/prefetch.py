"""How many messages a worker prefetches from a queue. Pure: times and totals are arguments."""

from collections import deque
from typing import Final

from taskqueue_drain.bounds import MOST_AUTO_PREFETCH

WAITING_SECONDS: Final = 1.0
"""So much work waits in a worker: longer than the round trip to a distant broker, and than the pause after a burst; and
so short that it does not matter to a message that another worker is idle."""
BAND: Final = 1.5
"""The prefetch changes when it would be too small or too large even for tasks that are so much longer or shorter."""
WINDOW: Final = 10
"""Observations, one each second, over which the task time is measured."""
FEWEST_TASKS: Final = 5
"""Tasks that end within the window before the prefetch grows."""
CAUTION_SECONDS: Final = 60.0
"""How long the prefetch does not grow after messages have waited too long: some tasks are much longer than others."""


class Prefetch:
    """The prefetch of one queue: constant, or for the time of the tasks with `Auto`.

    Attributes:
        count: The prefetch.
        task_seconds: The measured time of a task.
    """

    def __init__(self, count: int, concurrency: int, *, queues: int = 1, is_auto: bool = False) -> None:
        """Start with a prefetch of `count`; all queues of a worker share its slots."""
        self.count = count
        self.task_seconds = 0.0
        self._least = concurrency
        self._queues = queues
        self._is_auto = is_auto
        self._observed = deque([(0.0, 0)], maxlen=WINDOW + 1)
        self._grows_from = 0.0

    @property
    def may_change(self) -> bool:
        """Whether a later call may change the prefetch."""
        return self._is_auto or self.count > self._least

    def observe(self, now: float, busy_seconds: float, ended: int) -> bool:
        """Take the totals of the run time of all tasks, and of ended ones; return whether the prefetch changes."""
        if not self._is_auto:
            return False
        self._observed.append((busy_seconds, ended))
        busy_before, ended_before = self._observed[0]
        busy, tasks = busy_seconds - busy_before, ended - ended_before
        if busy <= 0:
            return False
        self.task_seconds = busy / max(1, tasks)
        before = self.count
        is_too_small = self.count < self._for(self.task_seconds * BAND)
        is_too_large = self.count > self._for(self.task_seconds / BAND)
        if is_too_large or (is_too_small and tasks >= FEWEST_TASKS and now >= self._grows_from):
            self.count = self._for(self.task_seconds)
        return self.count != before

    def reduce(self, now: float) -> bool:
        """Messages have waited too long: prefetch only what can start at once; return whether that changes anything."""
        before, self.count = self.count, min(self.count, self._least)
        self._observed.clear()
        self._grows_from = now + CAUTION_SECONDS
        return self.count != before

    def _for(self, task_seconds: float) -> int:
        """Return the messages that run, and those of this queue that start within WAITING_SECONDS."""
        waiting = self._least * WAITING_SECONDS / max(task_seconds, 1e-6) / self._queues
        return max(self._least, min(MOST_AUTO_PREFETCH, self._least + int(waiting)))
