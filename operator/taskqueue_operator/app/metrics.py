"""Prometheus metrics. Gauges come from a collector over the cache, so that a deleted TaskQueue leaves no series."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.control.loop import Control
from taskqueue_operator.resource.names import Key

OBJECT = ("namespace", "name")
LATENESS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1, 5)


class Metrics:
    """Counts what the control loop does; implements its Telemetry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._writes = Counter(
            "taskqueue_writes", "Writes to Kubernetes and RabbitMQ.", ("what",), registry=self.registry
        )
        self._reconciles = Counter(
            "taskqueue_reconciles", "TaskQueues reconciled.", ("result",), registry=self.registry
        )
        self._scalings = Counter(
            "taskqueue_scalings", "Changes of the number of workers.", ("direction", "reason"), registry=self.registry
        )
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

    def reconciled(self, *, settled: bool) -> None:
        """A TaskQueue was reconciled."""
        self._reconciles.labels("settled" if settled else "fault").inc()

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


class ControlCollector(Collector):
    """Reads the present state of the control loop at each scrape."""

    def __init__(self, control: Control) -> None:
        self._control = control

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Write the gauges."""
        yield from self._per_object()
        lanes = GaugeMetricFamily("taskqueue_lane_depth", "Keys that wait or are worked on.", labels=("lane",))
        for lane in (self._control.reconciling, self._control.scaling, self._control.reporting):
            lanes.add_metric((lane.name,), len(lane))
        yield lanes
        yield GaugeMetricFamily(
            "taskqueue_broker_readers", "Brokers that are read.", value=len(self._control.readers.observers())
        )

    def _per_object(self) -> Iterator[GaugeMetricFamily]:
        ready = GaugeMetricFamily("taskqueue_queue_ready", "Messages that wait for a worker.", labels=OBJECT)
        unacked = GaugeMetricFamily("taskqueue_queue_unacked", "Messages that workers hold.", labels=OBJECT)
        desired = GaugeMetricFamily("taskqueue_desired_replicas", "Workers that the queue needs.", labels=OBJECT)
        replicas = GaugeMetricFamily("taskqueue_replicas", "Workers that are asked for.", labels=OBJECT)
        consuming = GaugeMetricFamily("taskqueue_ready_replicas", "Workers that consume.", labels=OBJECT)
        for key, record in list(self._control.records.items()):
            if record.reading is not None and record.reading.at_least is not None:
                ready.add_metric(key, record.reading.at_least)
            if record.reading is not None and record.reading.unacked is not None:
                unacked.add_metric(key, record.reading.unacked)
            if record.decision is not None:
                desired.add_metric(key, record.decision.desired)
            if (there := self._control.cache.deployments.get(key)) is not None:
                replicas.add_metric(key, there.replicas)
                consuming.add_metric(key, there.ready)
        yield from (ready, unacked, desired, replicas, consuming)
