"""What the tasks of this worker have come to. Times are of any clock in seconds that never goes back."""

from collections.abc import Hashable


class Activity:
    """The tasks that run, and the sum of those that ended."""

    def __init__(self, now: float) -> None:
        self._began: dict[Hashable, float] = {}
        self._idle_since = now
        self.completed = 0
        self.failed = 0
        self.busy_seconds = 0.0
        """How long the tasks that ended ran, together."""

    def begin(self, task: Hashable, now: float) -> None:
        """A task starts."""
        self._began[task] = now

    def settle(self, task: Hashable, now: float, *, done: bool | None) -> None:
        """A task ended, well or not; None: it was given back, and counts as neither."""
        self.busy_seconds += now - self._began[task]
        if done is not None:
            self.completed += done
            self.failed += not done

    def end(self, task: Hashable, now: float) -> None:
        """Nothing of the task runs any more."""
        del self._began[task]
        self._idle_since = now

    def idle_seconds(self, now: float) -> float:
        """Since the last task ended, or since the start; 0 while one runs."""
        return 0 if self._began else now - self._idle_since

    def oldest_seconds(self, now: float) -> float | None:
        """How long the longest of those that run has run."""
        return now - min(self._began.values()) if self._began else None
