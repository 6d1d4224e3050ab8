"""Prometheus metrics. Gauges come from a collector over the cache, so that a deleted TaskQueue leaves no series."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.control.cache import CachedTaskQueue
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.control.status.inputs import dead_letters, delayed
from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue

LATENESS_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
"""Finer around the targets: 75 ms for 95 of 100 rounds, 150 ms for 99, 200 ms for all."""
LAG_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5, 10)
"""Finer around the targets: 50 ms with 1,000 TaskQueues, 200 ms with 10,000; more than 10 s costs the Lease."""
PER_TASKQUEUE: Final = {
    "taskqueue_queue_messages_ready": "Messages that certainly wait for a worker; absent while unknown.",
    "taskqueue_queue_messages_unacked": "Messages delivered and not yet acknowledged; absent while unknown.",
    "taskqueue_queue_messages_delayed": "Messages that wait for a retry or their dead-lettering, at most; absent while "
    "unknown.",
    "taskqueue_dead_letters": "Messages in the dead-letter queue; absent while unknown.",
    "taskqueue_reading_age_seconds": "Age of the last probe that returned a depth; +Inf: none yet.",
    "taskqueue_desired_replicas": "Number of workers that was decided.",
    "taskqueue_replicas": "spec.replicas of the Deployment.",
    "taskqueue_ready_replicas": "Workers that are ready.",
}


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


class LeadershipCollector(Collector):
    """Reads at each scrape whether this process leads: a stopped process must not report a former state."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges."""
        leads = self._leadership.is_leader()
        yield GaugeMetricFamily("taskqueue_leader", "1 if this process is the leader, otherwise 0.", value=leads)
        yield GaugeMetricFamily(
            "taskqueue_leader_epoch", "Epoch of this process's leadership; 0 before it.", value=self._leadership.epoch
        )


class NamespacesCollector(Collector):
    """Reads at each scrape how many of the watched namespaces are not served."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauge."""
        yield GaugeMetricFamily(
            "taskqueue_namespaces_not_served",
            "Watched namespaces that the API server refuses to list; the log names them.",
            value=len(self._cluster.forbidden_namespaces()),
        )


class ControllerCollector(Collector):
    """Reads the state of the controller at each scrape; it runs in a thread, so it must not change anything."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges."""
        yield from self._per_taskqueue()
        yield self._conditions()
        depths = GaugeMetricFamily(
            "taskqueue_workqueue_depth", "TaskQueues that wait or are being processed.", labels=("name",)
        )
        for queue in self._controller.work_queues:
            depths.add_metric((queue.name,), len(queue))
        yield depths
        yield GaugeMetricFamily(
            "taskqueue_broker_readers",
            "Brokers that are read, by URI, vhost and credentials.",
            value=len(self._controller.observers.running()),
        )

    def _per_taskqueue(self) -> Iterator[GaugeMetricFamily]:
        gauges = {
            name: GaugeMetricFamily(name, text, labels=("namespace", "name")) for name, text in PER_TASKQUEUE.items()
        }
        now = self._clock()
        # A copy: the controller changes the original meanwhile.
        for key, seen in self._controller.cache.taskqueues.copy().items():
            state = self._controller.states.get(key) or TaskQueueState()
            for gauge, figure in zip(gauges.values(), self._figures(seen, state, now), strict=True):
                if figure is not None:
                    gauge.add_metric(key, figure)
        yield from gauges.values()

    def _conditions(self) -> GaugeMetricFamily:
        """Return the conditions as this process knows them, before they are written too."""
        gauge = GaugeMetricFamily(
            "taskqueue_condition",
            "1 for the present status and reason of each condition.",
            labels=("namespace", "name", "type", "status", "reason"),
        )
        for key, seen in self._controller.cache.taskqueues.copy().items():
            state = self._controller.states.get(key)
            known = state.status.conditions if state is not None else None
            for condition in known if known is not None else seen.status.get("conditions", ()):
                gauge.add_metric((*key, condition["type"], condition["status"], condition["reason"]), 1)
        return gauge

    def _figures(self, seen: CachedTaskQueue, state: TaskQueueState, now: datetime) -> tuple[float | None, ...]:
        """Return the figures in the order of `PER_TASKQUEUE`; None produces no series."""
        reading, decision = state.scaling.reading, state.scaling.decision
        deployment = self._controller.cache.deployments.get(seen.key)
        return (
            reading.at_least if reading is not None else None,
            reading.unacked if reading is not None else None,
            delayed(self._controller.cache.taskqueue(seen.key), state),
            dead_letters(self._controller.cache.taskqueue(seen.key), state),
            _age(seen, state, now),
            decision.desired if decision is not None else None,
            deployment.replicas if deployment is not None else None,
            deployment.ready if deployment is not None else None,
        )


def _age(seen: CachedTaskQueue, state: TaskQueueState, now: datetime) -> float:
    observer = state.connection.observer
    if observer is None or not isinstance(seen.parsed, TaskQueue):
        return math.inf
    read_at = observer.read_at(seen.parsed.queue_name)
    return (now - read_at).total_seconds() if read_at is not None else math.inf
