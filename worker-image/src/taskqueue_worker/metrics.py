"""The Prometheus metrics of a worker."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from .breaker.circuit import State
from .pools.child_exit import EndReason
from .run_outcome import Status

UNKNOWN: Final = "unknown"
_GAUGES: Final = {
    "in_flight": "Running tasks.",
    "prefetched": "Messages delivered to this worker and not started.",
    "prefetch": "Messages that this worker may hold, of all its queues.",
    "consuming": "Queues that have a consumer of this worker.",
    "dead_letters_blocked": "Messages that wait because their dead letter cannot be stored.",
    "braked": "1 while starts are delayed because tasks fail one after the other.",
    "handlers_held_seconds": "For how long a handler has held the loop of the handlers; 0 unless for seconds.",
    "handlers_lag_seconds": "How late the loop of the handlers answered its last check.",
    "connection_lag_seconds": "How late the loop of the connection was at its last check.",
    "draining": "1 while the worker is draining, drained or leaving.",
}
_DURATION_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1500, 3600)
_BREAKER_STATES: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Metrics:
    """The metrics of one worker, in their own registry."""

    def __init__(self, name: str, version: str, types: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("taskqueue_worker", "TaskQueue of this worker.", registry=self.registry).info(
            {"taskqueue": name, "version": version}
        )
        # Publishers choose the type. Only types with a handler become a label, so the number of series is bounded.
        self._types = frozenset(types)
        self._tasks = Counter(
            "taskqueue_worker_tasks", "Tasks that ended.", ["queue", "type", "status"], registry=self.registry
        )
        self._durations = Histogram(
            "taskqueue_worker_task_duration_seconds",
            "Run time of handlers.",
            ["queue", "type"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "taskqueue_worker_queue_wait_seconds",
            "From the publish, or else from the delivery to this worker, to the start of the first attempt.",
            ["queue", "since"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self.reconnects = Counter(
            "taskqueue_worker_reconnects", "Connections opened after the first.", registry=self.registry
        )
        self.ack_failed = Counter(
            "taskqueue_worker_ack_failed", "Tasks that ended but could not be settled.", registry=self.registry
        )
        self._dead_letters = Counter(
            "taskqueue_worker_dead_letters",
            "Messages whose dead letter was stored.",
            ["queue", "reason"],
            registry=self.registry,
        )
        self._retries = Counter(
            "taskqueue_worker_retries", "Failed tasks that are tried again.", ["queue"], registry=self.registry
        )
        self._breakers = Gauge(
            "taskqueue_worker_breaker_state",
            "0: closed, 1: half open, 2: open.",
            ["breaker"],
            registry=self.registry,
        )
        self._children = Gauge(
            "taskqueue_worker_children", "Processes that run tasks for this worker.", registry=self.registry
        )
        self._children_ended = Counter(
            "taskqueue_worker_children_ended", "Such processes that have ended.", ["reason"], registry=self.registry
        )
        self.reports = Counter("taskqueue_worker_reports", "Reports sent to the operator.", registry=self.registry)
        self._commands = Counter(
            "taskqueue_worker_commands", "Commands from the operator.", ["command", "outcome"], registry=self.registry
        )
        # Cached: looking up a child by its labels costs more than counting.
        self._tasks_child = lru_cache(maxsize=None)(self._tasks.labels)
        self._waits_child = lru_cache(maxsize=None)(self._waits.labels)
        self._durations_child = lru_cache(maxsize=None)(self._durations.labels)

    def add_gauge(self, gauge: str, value: Callable[[], float]) -> None:
        """Call `value` whenever the gauge is scraped."""
        Gauge(f"taskqueue_worker_{gauge}", _GAUGES[gauge], registry=self.registry).set_function(value)

    def add_breaker(self, name: str, state: Callable[[], State]) -> None:
        """Call `state` whenever the gauge of this breaker is scraped."""
        self._breakers.labels(name).set_function(lambda: _BREAKER_STATES[state()])

    def count_command(self, command: str, outcome: str) -> None:
        """Count a command.

        Args:
            command: The verb of a valid command, else `unknown`.
            outcome: `done`, `refused` or `ignored`.
        """
        self._commands.labels(command, outcome).inc()

    def count_dead_letter(self, queue: str, reason: str) -> None:
        """Count a dead letter that its queue confirmed."""
        self._dead_letters.labels(queue, reason).inc()

    def count_retry(self, queue: str) -> None:
        """Count a retry that its delay queue confirmed."""
        self._retries.labels(queue).inc()

    def child_started(self) -> None:
        """Count a child that was started. Any thread may call it."""
        self._children.inc()

    def child_ended(self, reason: EndReason) -> None:
        """Count a child that has ended. Any thread may call it."""
        self._children.dec()
        self._children_ended.labels(reason.value).inc()

    def count_start(self, queue: str, since: str, seconds: float) -> None:
        """Count a first attempt that starts so many seconds after its message was published or delivered."""
        self._waits_child(queue, since).observe(seconds)

    def count_task(self, queue: str, type: str, status: Status, seconds: float) -> None:  # noqa: A002 - the AMQP name
        """Count a task that ended, with its run time."""
        label = type if type in self._types else UNKNOWN
        self._tasks_child(queue, label, status.value).inc()
        self._durations_child(queue, label).observe(seconds)
