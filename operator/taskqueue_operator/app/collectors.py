"""Gauges that are read at each scrape from what the process knows, so that a deleted TaskQueue leaves no series."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.control.cache import CachedTaskQueue
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.control.status.inputs import dead_letters, delayed, parked
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment


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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a TaskQueue now."""

    cached: CachedTaskQueue
    state: TaskQueueState
    deployment: Deployment | None
    now: datetime


def _ready(known: _Known) -> float | None:
    reading = known.state.scaling.reading
    return reading.at_least if reading is not None else None


def _unacked(known: _Known) -> float | None:
    reading = known.state.scaling.reading
    return reading.unacked if reading is not None else None


def _delayed(known: _Known) -> float | None:
    return delayed(_parsed(known), known.state)


def _parked(known: _Known) -> float:
    return parked(known.state)


def _dead_letters(known: _Known) -> float | None:
    return dead_letters(_parsed(known), known.state)


def _parsed(known: _Known) -> TaskQueue | None:
    parsed = known.cached.parsed
    return parsed if isinstance(parsed, TaskQueue) else None


def _reading_age(known: _Known) -> float:
    parsed = _parsed(known)
    queues = known.state.queues(parsed) if parsed is not None else None
    read_at = queues.read_at() if queues is not None else None
    return (known.now - read_at).total_seconds() if read_at is not None else math.inf


def _desired(known: _Known) -> float | None:
    decision = known.state.scaling.decision
    return decision.desired if decision is not None else None


def _replicas(known: _Known) -> float | None:
    return known.deployment.replicas if known.deployment is not None else None


def _ready_replicas(known: _Known) -> float | None:
    return known.deployment.ready if known.deployment is not None else None


FIGURES: Final[tuple[tuple[str, str, Callable[[_Known], float | None]], ...]] = (
    ("queue_messages_ready", "Messages that certainly wait for a worker; absent while unknown.", _ready),
    ("queue_messages_unacked", "Messages delivered and not yet acknowledged; absent while unknown.", _unacked),
    (
        "queue_messages_delayed",
        "Messages that wait for a retry or their dead-lettering, at most; absent while unknown.",
        _delayed,
    ),
    ("parked_messages", "Retries of deleted queues in the vhost of the TaskQueue, in taskqueue.parking.", _parked),
    ("dead_letters", "Messages in the dead-letter queues; absent while unknown.", _dead_letters),
    ("reading_age_seconds", "Age of the last probe that returned a depth; +Inf: none yet.", _reading_age),
    ("desired_replicas", "Number of workers that was decided.", _desired),
    ("replicas", "spec.replicas of the Deployment.", _replicas),
    ("ready_replicas", "Workers that are ready.", _ready_replicas),
)
"""Gauges of each TaskQueue: name without prefix, description, and the figure; None produces no series."""
PART: Final = 100
"""TaskQueues of one part of a family; a part is written in one piece, 1 ms."""


class ControllerCollector(Collector):
    """Reads what the controller knows. Families come in parts, so that other tasks can run in between."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges; parts of a family follow each other."""
        for name, text, figure in FIGURES:
            for part in self._parts():
                yield self._gauge(name, text, figure, part)
        for part in self._parts():
            yield self._conditions(part)
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

    def _parts(self) -> Iterator[list[CachedTaskQueue]]:
        """Yield all TaskQueues in parts; the only part is empty if there are none."""
        cached = list(self._controller.cache.taskqueues.values())
        for begin in range(0, max(1, len(cached)), PART):
            yield cached[begin : begin + PART]

    def _gauge(
        self, name: str, text: str, figure: Callable[[_Known], float | None], part: list[CachedTaskQueue]
    ) -> GaugeMetricFamily:
        gauge, now = GaugeMetricFamily(f"taskqueue_{name}", text, labels=("namespace", "name")), self._clock()
        for cached in part:
            state = self._controller.states.get(cached.key) or TaskQueueState()
            value = figure(_Known(cached, state, self._controller.cache.deployment(cached.key), now))
            if value is not None:
                gauge.add_metric(cached.key, value)
        return gauge

    def _conditions(self, part: list[CachedTaskQueue]) -> GaugeMetricFamily:
        """Return the conditions as this process knows them, before they are written too."""
        gauge = GaugeMetricFamily(
            "taskqueue_condition",
            "1 for the present status and reason of each condition.",
            labels=("namespace", "name", "type", "status", "reason"),
        )
        for cached in part:
            state = self._controller.states.get(cached.key)
            known = state.status.conditions if state is not None else None
            for condition in known if known is not None else cached.status.get("conditions", ()):
                gauge.add_metric((*cached.key, condition["type"], condition["status"], condition["reason"]), 1)
        return gauge
