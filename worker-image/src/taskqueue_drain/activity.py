"""Running tasks and totals of ended ones. Times are seconds of a monotonic clock."""

from collections.abc import Hashable

from .protocol import Figures


class Activity:
    """Tracks which tasks run, since when the worker is idle, and the totals of ended tasks.

    Attributes:
        started_at: Since when each running task runs.
        completed: Tasks that were done.
        failed: Tasks that failed.
        busy_seconds: Sum of the run times of all ended tasks.
    """

    def __init__(self, now: float) -> None:
        self.started_at: dict[Hashable, float] = {}
        self._idle_since = now
        self.completed = 0
        self.failed = 0
        self.busy_seconds = 0.0

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self.started_at)

    def begin(self, task: Hashable, now: float) -> None:
        """A task starts."""
        self.started_at[task] = now

    def settle(self, task: Hashable, now: float, *, done: bool | None) -> float:
        """A task ended, done or failed: return its run time. A requeued task (`done` is None) counts as neither."""
        seconds = now - self.started_at[task]
        self.busy_seconds += seconds
        if done is not None:
            self.completed += done
            self.failed += not done
        return seconds

    def end(self, task: Hashable, now: float) -> None:
        """The handler of the task does not run any more."""
        del self.started_at[task]
        self._idle_since = now

    def figures(self, now: float, *, in_flight: int, prefetched: int, dead_letters_blocked: int = 0) -> Figures:
        """Count for a report. A runtime may count other tasks as `in_flight` than those that run here."""
        oldest = self.oldest_seconds(now)
        return Figures(
            in_flight=in_flight,
            prefetched=prefetched,
            idle_seconds=round(self.idle_seconds(now), 3),
            oldest_seconds=None if oldest is None else round(max(0.0, oldest), 3),
            completed=self.completed,
            failed=self.failed,
            busy_seconds=round(self.busy_seconds, 3),
            dead_letters_blocked=dead_letters_blocked,
        )

    def busy_until(self, now: float) -> float:
        """Return the sum of the run times of all tasks, running ones included."""
        return self.busy_seconds + sum(now - started_at for started_at in self.started_at.values())

    def idle_seconds(self, now: float) -> float:
        """Return the time since the last task ended, or since the start; 0 while a task runs."""
        return 0 if self.started_at else now - self._idle_since

    def oldest_seconds(self, now: float) -> float | None:
        """Return the run time of the running task that started first; None if no task runs."""
        return now - min(self.started_at.values()) if self.started_at else None
