"""Prometheus metrics. Gauges come from a collector over the cache, so that a deleted TaskQueue leaves no series."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.control.cache import Seen
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue

LATENESS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
"""Fine around what is promised: 75 ms for 95 of 100 rounds, 150 ms for 99, 200 ms for all."""
PER_TASKQUEUE: Final = {
    "taskqueue_queue_messages_ready": "Messages that certainly wait for a worker; absent while unknown.",
    "taskqueue_queue_messages_unacked": "Messages that workers hold; absent while unknown.",
    "taskqueue_reading_age_seconds": "Time since the queue was last asked for its depth and gave it; +Inf: not yet.",
    "taskqueue_desired_replicas": "Workers that were decided on.",
    "taskqueue_replicas": "Workers that the Deployment asks for.",
    "taskqueue_ready_replicas": "Workers that consume.",
}


class Metrics:
    """Counts what the control loop does; implements its Telemetry."""

    def __init__(self) -> None:
        # Else a second series for each counter, of which nothing can be learned.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = CollectorRegistry()
        self._writes = Counter(
            "taskqueue_writes", "Writes to Kubernetes and RabbitMQ.", ("what",), registry=self.registry
        )
        self._reconciles = Counter(
            "taskqueue_reconciles", "TaskQueues reconciled.", ("result",), registry=self.registry
        )
        self._scalings = Counter(
            "taskqueue_scale_operations",
            "Changes of the number of workers.",
            ("direction", "reason"),
            registry=self.registry,
        )
        self._commands = Counter("taskqueue_commands", "Commands to workers.", ("command",), registry=self.registry)
        self._victims = Counter(
            "taskqueue_scale_in_removed_pods",
            "Pods that went after a scale-in, by what their workers did; busy must stay 0.",
            ("state",),
            registry=self.registry,
        )
        for state in RemovedState:
            self._victims.labels(state)  # an alert on busy needs its 0
        self._retained = Counter(
            "taskqueue_retained_topologies",
            "Deletions that left the topology although their policy asked for its removal.",
            registry=self.registry,
        )
        self._readings = Counter(
            "taskqueue_readings", "Questions to brokers, by answer.", ("source", "outcome"), registry=self.registry
        )
        self._rounds = Histogram(
            "taskqueue_reading_seconds", "How long a round of questions took.", ("source",), registry=self.registry
        )
        self._lateness = Histogram(
            "taskqueue_decision_lateness_seconds",
            "How long after its plan a round of readings and decisions was done.",
            buckets=LATENESS,
            registry=self.registry,
        )
        self._decisions = Counter("taskqueue_decisions", "Decisions, by reason.", ("reason",), registry=self.registry)

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:  # noqa: ARG002  no label per object
        """The number of workers was changed."""
        self._scalings.labels("out" if after > before else "in", why).inc()

    def wrote(self, what: str) -> None:
        """Something was written."""
        self._writes.labels(what).inc()

    def commanded(self, verb: str) -> None:
        """A worker was sent a command."""
        self._commands.labels(verb).inc()

    def removed(self, state: str) -> None:
        """A pod went after a scale-in."""
        self._victims.labels(state).inc()

    def reconciled(self, *, succeeded: bool) -> None:
        """A TaskQueue was reconciled."""
        self._reconciles.labels("success" if succeeded else "error").inc()

    def retained(self, key: Key, why: str) -> None:  # noqa: ARG002  the log has the details
        """A deletion left its topology."""
        self._retained.inc()

    def asked(self, source: str, seconds: float, outcomes: Mapping[str, int]) -> None:
        """A round of questions to a broker has ended."""
        self._rounds.labels(source).observe(seconds)
        for outcome, count in outcomes.items():
            self._readings.labels(source, outcome).inc(count)

    def late(self, seconds: float) -> None:
        """A tick was done so long after its plan."""
        self._lateness.observe(seconds)

    def decided(self, why: str) -> None:
        """A decision was made."""
        self._decisions.labels(why).inc()


class LeadershipCollector(Collector):
    """Says at each scrape whether this process leads: one that was stopped must not tell what once was."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Write the gauges."""
        leads = self._leadership.holds()
        yield GaugeMetricFamily("taskqueue_leader", "Whether this process leads: 1, or 0.", value=leads)
        yield GaugeMetricFamily(
            "taskqueue_leader_epoch", "Epoch of this process's leadership; 0 before.", value=self._leadership.epoch
        )


class ControlCollector(Collector):
    """Reads the present state of the control loop at each scrape; in a thread, so nothing here may change anything."""

    def __init__(self, control: Controller, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Write the gauges."""
        yield from self._per_taskqueue()
        depths = GaugeMetricFamily("taskqueue_workqueue_depth", "Keys that wait or are worked on.", labels=("name",))
        for queue in self._control.work_queues:
            depths.add_metric((queue.name,), len(queue))
        yield depths
        yield GaugeMetricFamily(
            "taskqueue_broker_readers", "Brokers that are read.", value=len(self._control.observers.observers())
        )

    def _per_taskqueue(self) -> Iterator[GaugeMetricFamily]:
        gauges = {
            name: GaugeMetricFamily(name, text, labels=("namespace", "name")) for name, text in PER_TASKQUEUE.items()
        }
        now = self._clock()
        # A copy: the loop goes on meanwhile.
        for key, seen in self._control.cache.taskqueues.copy().items():
            state = self._control.states.get(key) or TaskQueueState()
            for gauge, figure in zip(gauges.values(), self._figures(seen, state, now), strict=True):
                if figure is not None:
                    gauge.add_metric(key, figure)
        yield from gauges.values()

    def _figures(self, seen: Seen, state: TaskQueueState, now: datetime) -> tuple[float | None, ...]:
        """In the order of `PER_TASKQUEUE`; None is no series."""
        reading, decision = state.scaling.reading, state.scaling.decision
        there = self._control.cache.deployments.get(seen.key)
        return (
            reading.at_least if reading is not None else None,
            reading.unacked if reading is not None else None,
            _age(seen, state, now),
            decision.desired if decision is not None else None,
            there.replicas if there is not None else None,
            there.ready if there is not None else None,
        )


def _age(seen: Seen, state: TaskQueueState, now: datetime) -> float:
    observer = state.connection.observer
    if observer is None or not isinstance(seen.parsed, TaskQueue):
        return math.inf
    read_at = observer.read_at(seen.parsed.queue_name)
    return (now - read_at).total_seconds() if read_at is not None else math.inf
