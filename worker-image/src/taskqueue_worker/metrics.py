"""What /metrics shows."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from .runner import Status

UNKNOWN = "unknown"
_GAUGES = {
    "in_flight": "Tasks that run.",
    "prefetched": "Messages that this worker holds and has not started.",
    "consuming": "Queues that this worker consumes.",
    "draining": "1 while the worker is drained, by the operator or because it leaves.",
}
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1500, 3600)


class Metrics:
    """The figures of one worker, in a registry of their own."""

    def __init__(self, name: str, version: str, types: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("taskqueue_worker", "Which TaskQueue this worker serves.", registry=self.registry).info(
            {"taskqueue": name, "version": version}
        )
        # Publishers choose the type: only those with a handler become a label, or the number of series had no bound.
        self._types = frozenset(types)
        self._ended = Counter(
            "taskqueue_worker_tasks", "Tasks that ended.", ["queue", "type", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "taskqueue_worker_task_duration_seconds",
            "How long handlers ran.",
            ["queue", "type"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.reconnects = Counter(
            "taskqueue_worker_reconnects", "Connections opened after the first.", registry=self.registry
        )
        self.ack_failed = Counter(
            "taskqueue_worker_ack_failed", "Tasks that ended but could not be settled.", registry=self.registry
        )
        self.reports = Counter("taskqueue_worker_reports", "Reports sent to the operator.", registry=self.registry)
        self._commands = Counter(
            "taskqueue_worker_commands", "Commands of the operator.", ["command", "outcome"], registry=self.registry
        )
        # Looking a child up by its labels costs more than counting.
        self._counter = lru_cache(maxsize=None)(self._ended.labels)
        self._histogram = lru_cache(maxsize=None)(self._seconds.labels)

    def watch(self, gauge: str, value: Callable[[], float]) -> None:
        """Ask `value` whenever the gauge is scraped."""
        Gauge(f"taskqueue_worker_{gauge}", _GAUGES[gauge], registry=self.registry).set_function(value)

    def command(self, name: str, outcome: str) -> None:
        """Count a command: `name` is `unknown` unless it is well formed, `outcome` is done, refused or ignored."""
        self._commands.labels(name, outcome).inc()

    def task_ended(self, queue: str, type: str, status: Status, seconds: float) -> None:  # noqa: A002 - the AMQP name
        """Count one task."""
        label = type if type in self._types else UNKNOWN
        self._counter(queue, label, status.value).inc()
        self._histogram(queue, label).observe(seconds)
