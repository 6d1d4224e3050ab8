"""What runs in a worker and how tasks ended, by name. For any thread. Times are seconds of a monotonic clock."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Final

from .activity import Activity
from .bounds import TASK_NAMES
from .protocol import Figures

DURATION_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1500, 3600)
OTHER: Final = "other"


class Status(StrEnum):
    """How a task ended."""

    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    WORKER_LOST = "worker_lost"
    RETRIED = "retried"
    REQUEUED = "requeued"
    REVOKED = "revoked"


_IS_DONE: Final = {Status.DONE: True, Status.IGNORED: True} | dict.fromkeys(
    (Status.FAILED, Status.TIMEOUT, Status.REJECTED, Status.WORKER_LOST), False
)
"""A task with another status is tried again, or was not wanted any more."""


@dataclass(slots=True)
class EndedTasks:
    """The tasks of one name that ended: how, and in which buckets their run times are."""

    statuses: defaultdict[Status, int] = field(default_factory=lambda: defaultdict(int))
    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    total_seconds: float = 0.0

    def add(self, status: Status, seconds: float) -> None:
        """Add a task that ended."""
        self.statuses[status] += 1
        self.counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.total_seconds += seconds


@dataclass(frozen=True, slots=True)
class Totals:
    """What ended until now.

    Attributes:
        ended: Number of tasks by name and status.
        durations: By name, how many tasks were not longer than each bucket, at last all; the sum of their run times.
    """

    ended: dict[tuple[str, Status], int]
    durations: dict[str, tuple[list[int], float]]


class TaskRuns:
    """The runs of a worker, and the totals of ended ones. Its figures are those of `Activity`."""

    def __init__(self, now: float) -> None:
        self._lock = threading.Lock()
        self._activity = Activity(now)
        self._ended: defaultdict[str, EndedTasks] = defaultdict(EndedTasks)

    def begin(self, run: Hashable, now: float) -> None:
        """A runtime has handed a task to what runs it."""
        with self._lock:
            self._activity.begin(run, now)

    def start(self, run: Hashable, now: float) -> None:
        """The task itself begins: from now on its run time counts."""
        with self._lock:
            if run in self._activity.started_at:
                self._activity.begin(run, now)

    def discard(self, run: Hashable, now: float) -> None:
        """The task was given back: it did not begin."""
        with self._lock:
            if run in self._activity.started_at:
                self._activity.end(run, now)

    def end(self, run: Hashable, name: str, status: Status, now: float) -> None:
        """A task of this name ended. Only the first end of a run counts."""
        with self._lock:
            if run not in self._activity.started_at:
                return
            seconds = self._activity.settle(run, now, done=_IS_DONE.get(status))
            self._activity.end(run, now)
            known = name if name in self._ended or len(self._ended) < TASK_NAMES else OTHER
            self._ended[known].add(status, seconds)

    def figures(self, now: float, *, prefetched: int, waiting: int = 0, settling: int = 0) -> Figures:
        """Count for a report.

        Args:
            now: The time.
            prefetched: Messages that can still be given back.
            waiting: How many of these are runs, because the runtime has handed them on already.
            settling: Messages of ended runs that are about to be settled.
        """
        with self._lock:
            in_flight = max(0, self._activity.running - waiting) + settling
            return self._activity.figures(now, in_flight=in_flight, prefetched=prefetched)

    @property
    def totals(self) -> Totals:
        """What ended until now."""
        with self._lock:
            return Totals(
                {
                    (name, status): count
                    for name, tasks in self._ended.items()
                    for status, count in tasks.statuses.items()
                },
                {name: (list(accumulate(tasks.counts)), tasks.total_seconds) for name, tasks in self._ended.items()},
            )
