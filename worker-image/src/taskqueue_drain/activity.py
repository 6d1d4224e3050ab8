"""What runs in a worker and how tasks ended, by name. For any thread. Times are seconds of a monotonic clock."""

import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Final

from .bounds import TASK_NAMES

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


_DONE: Final = frozenset({Status.DONE, Status.IGNORED})
_FAILED: Final = frozenset({Status.FAILED, Status.TIMEOUT, Status.REJECTED, Status.WORKER_LOST})


@dataclass(eq=False, slots=True)
class Run:
    """One run of a task, from when it can no longer be given back."""

    name: str
    started_at: float | None = None


@dataclass(slots=True)
class Durations:
    """Run times of the tasks of one name."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    total_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Add a task that ended."""
        self.counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.total_seconds += seconds

    def cumulative(self) -> list[int]:
        """For each bucket, how many tasks were not longer; at last all."""
        return list(accumulate(self.counts))


class Activity:
    """The runs of a worker, and the totals of ended ones."""

    def __init__(self, now: float) -> None:
        self._lock = threading.Lock()
        self._runs: set[Run] = set()
        self._idle_since = now
        self._ended: dict[tuple[str, Status], int] = {}
        self._durations: dict[str, Durations] = {}

    def begin(self, name: str) -> Run:
        """A task can no longer be given back."""
        run = Run(name)
        with self._lock:
            self._runs.add(run)
        return run

    def discard(self, run: Run) -> None:
        """The task was given back after all."""
        with self._lock:
            self._runs.discard(run)

    def end(self, run: Run, status: Status, now: float) -> None:
        """A task ended. Only the first end of a run counts."""
        with self._lock:
            if run not in self._runs:
                return
            self._runs.remove(run)
            self._idle_since = now
            name = run.name if run.name in self._durations or len(self._durations) < TASK_NAMES else OTHER
            self._ended[name, status] = self._ended.get((name, status), 0) + 1
            seconds = 0.0 if run.started_at is None else max(0.0, now - run.started_at)
            self._durations.setdefault(name, Durations()).add(seconds)

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._runs)

    def idle_seconds(self, now: float) -> float:
        """Return the time since the last task ended, or since the start; 0 while a task runs."""
        with self._lock:
            return 0.0 if self._runs else now - self._idle_since

    def oldest_seconds(self, now: float) -> float | None:
        """Return the run time of the running task that started first; None if no task runs."""
        with self._lock:
            started_at = [run.started_at for run in self._runs if run.started_at is not None]
        return max(0.0, now - min(started_at)) if started_at else None

    def ended(self) -> dict[tuple[str, Status], int]:
        """Count the ended tasks by name and status."""
        with self._lock:
            return dict(self._ended)

    def durations(self) -> dict[str, tuple[list[int], float]]:
        """Return for each name how many tasks were not longer than each bucket, and the sum of all."""
        with self._lock:
            return {name: (each.cumulative(), each.total_seconds) for name, each in self._durations.items()}

    @property
    def completed(self) -> int:
        """Tasks that were done."""
        return sum(count for (_, status), count in self.ended().items() if status in _DONE)

    @property
    def failed(self) -> int:
        """Tasks that failed. A task that is tried again is neither done nor failed."""
        return sum(count for (_, status), count in self.ended().items() if status in _FAILED)

    @property
    def busy_seconds(self) -> float:
        """The sum of the run times of all ended tasks."""
        return sum(seconds for _, seconds in self.durations().values())
