"""The metrics of a worker that joins, with the names of those of `taskqueue_worker`."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator

from .exposition import Family, Sample, histogram, page
from .protocol import State
from .protocol_log import ProtocolLog
from .runtime import Runtime
from .task_runs import DURATION_BUCKETS, TaskRuns, Totals

PREFIX = "taskqueue_worker_"


class CountingLog(ProtocolLog):
    """Counts commands and reports beside logging them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: Counter[tuple[str, str]] = Counter()
        self._reports = 0

    # typing has no `override` before Python 3.12.
    def handled(self, command: str, outcome: str, reason: str | None = None) -> None:  # type: ignore[explicit-override]
        """See `Observer`."""
        with self._lock:
            self._commands[command, outcome] += 1
        super().handled(command, outcome, reason)

    def reported(self) -> None:  # type: ignore[explicit-override]
        """See `Observer`."""
        self._reports += 1  # on one thread

    def families(self) -> Iterator[Family]:
        """Return what was counted."""
        with self._lock:
            commands = dict(self._commands)
        yield Family(f"{PREFIX}reports_total", "counter", "Reports sent to the operator.", [Sample(self._reports, {})])
        samples = [
            Sample(count, {"command": command, "outcome": outcome}) for (command, outcome), count in commands.items()
        ]
        yield Family(f"{PREFIX}commands_total", "counter", "Commands from the operator.", samples)


class Metrics:
    """What `/metrics` serves. May be asked on any thread."""

    def __init__(
        self, runtime: Runtime, runs: TaskRuns, log: CountingLog, state: Callable[[], State], queues: Callable[[], int]
    ) -> None:
        """Ask for the values at each scrape.

        Args:
            runtime: The worker.
            runs: Its tasks.
            log: What the protocol did.
            state: Returns the state of the worker.
            queues: Counts the queues that have a consumer of this worker.
        """
        self._runtime = runtime
        self._runs = runs
        self._log = log
        self._state = state
        self._queues = queues

    def page(self) -> bytes:
        """Write all metrics."""
        return page([*self._gauges(), *_tasks(self._runs.totals), *self._log.families()])

    def _gauges(self) -> Iterator[Family]:
        figures, is_draining = self._runtime.figures(), self._state() not in {State.STARTING, State.CONSUMING}
        values = {
            "in_flight": (figures.in_flight, "Running tasks."),
            "prefetched": (figures.prefetched, "Messages delivered to this worker and not started."),
            "consuming": (self._queues(), "Queues that have a consumer of this worker."),
            "draining": (int(is_draining), "1 while the worker is draining, drained or leaving."),
        }
        for name, (value, text) in values.items():
            yield Family(PREFIX + name, "gauge", text, [Sample(value, {})])


def _tasks(totals: Totals) -> Iterator[Family]:
    ended = [Sample(count, {"type": name, "status": status}) for (name, status), count in totals.ended.items()]
    yield Family(f"{PREFIX}tasks_total", "counter", "Tasks that ended.", ended)
    durations = [
        sample
        for name, (counts, seconds) in totals.durations.items()
        for sample in histogram(DURATION_BUCKETS, counts, seconds, {"type": name})
    ]
    yield Family(f"{PREFIX}task_duration_seconds", "histogram", "Run time of tasks.", durations)
