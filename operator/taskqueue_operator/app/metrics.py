"""Prometheus metrics. Gauges come from a collector over the cache, so that a deleted TaskQueue leaves no series."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.resource.names import Key

LATENESS_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
"""Finer around the targets: 75 ms for 95 of 100 rounds, 150 ms for 99, 200 ms for all."""
LAG_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5, 10)
"""Finer around the targets: 50 ms with 1,000 TaskQueues, 200 ms with 10,000; more than 10 s costs the Lease."""


class Metrics:
    """Counts what the controller does; implements its Telemetry."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series, which carries no information.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = CollectorRegistry()
        self._writes = Counter(
            "taskqueue_writes", "Writes to Kubernetes and RabbitMQ.", ("what",), registry=self.registry
        )
        self._reconciles = Counter(
            "taskqueue_reconciles", "Reconciles of a TaskQueue.", ("result",), registry=self.registry
        )
        self._scale_operations = Counter(
            "taskqueue_scale_operations",
            "Changes of spec.replicas.",
            ("direction", "reason"),
            registry=self.registry,
        )
        self._commands = Counter("taskqueue_commands", "Commands to workers.", ("command",), registry=self.registry)
        self._removed_pods = Counter(
            "taskqueue_scale_in_removed_pods",
            "Pods removed by a scale-in, by the state of their workers; busy must stay 0.",
            ("state",),
            registry=self.registry,
        )
        for state in RemovedState:
            self._removed_pods.labels(state)  # an alert on busy needs the 0
        self._retained = Counter(
            "taskqueue_retained_topologies",
            "Deletions that left the topology although their policy asked for its removal.",
            registry=self.registry,
        )
        self._readings = Counter(
            "taskqueue_readings", "Reads of queues, by outcome.", ("source", "outcome"), registry=self.registry
        )
        self._rounds = Histogram(
            "taskqueue_reading_seconds", "Duration of a round of reads.", ("source",), registry=self.registry
        )
        self._lateness = Histogram(
            "taskqueue_decision_lateness_seconds",
            "Delay of a round of reading and deciding behind its schedule.",
            buckets=LATENESS_BUCKETS,
            registry=self.registry,
        )
        self._loop_lag = Histogram(
            "taskqueue_event_loop_lag_seconds",
            "Delay of a heartbeat on the event loop: how long one piece of work holds it.",
            buckets=LAG_BUCKETS,
            registry=self.registry,
        )
        self._decisions = Counter("taskqueue_decisions", "Decisions, by reason.", ("reason",), registry=self.registry)

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:  # noqa: ARG002  no label per object
        """The number of workers was changed."""
        self._scale_operations.labels("out" if after > before else "in", why).inc()

    def wrote(self, what: str) -> None:
        """An object was written."""
        self._writes.labels(what).inc()

    def commanded(self, verb: str) -> None:
        """A worker was sent a command."""
        self._commands.labels(verb).inc()

    def removed(self, state: str) -> None:
        """A pod was removed by a scale-in."""
        self._removed_pods.labels(state).inc()

    def reconciled(self, *, succeeded: bool) -> None:
        """A TaskQueue was reconciled."""
        self._reconciles.labels("success" if succeeded else "error").inc()

    def retained(self, key: Key, why: str) -> None:  # noqa: ARG002  the log has the details
        """A deletion left the topology."""
        self._retained.inc()

    def queried(self, source: str, seconds: float, outcomes: Mapping[str, int]) -> None:
        """A round of reads has ended."""
        self._rounds.labels(source).observe(seconds)
        for outcome, count in outcomes.items():
            self._readings.labels(source, outcome).inc(count)

    def delayed(self, seconds: float) -> None:
        """A round of reading and deciding ended this long after its schedule."""
        self._lateness.observe(seconds)

    def lagged(self, seconds: float) -> None:
        """A heartbeat on the event loop was this late."""
        self._loop_lag.observe(seconds)

    def decided(self, why: str) -> None:
        """A decision was made."""
        self._decisions.labels(why).inc()
