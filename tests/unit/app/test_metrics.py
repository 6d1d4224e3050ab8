"""Counters count, gauges show what is there now, and a TaskQueue that is gone leaves no series."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from taskqueue_operator.app.metrics import ControlCollector, Metrics
from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.loop import Control
from taskqueue_operator.control.record import Records
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.decide import Decision, Why
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.reading import Doubt, Reading
from tests.unit.scaling.given import at

KEY = Key("media", "thumbnails")


class Lane:
    def __init__(self, name: str) -> None:
        self.name = name

    def __len__(self) -> int:
        return 2


@pytest.fixture
def control() -> Any:  # noqa: ANN401  what the collector looks at, and no more
    lanes = {f"{name}ing": Lane(name) for name in ("reconcil", "scal", "report")}
    readers = SimpleNamespace(observers=lambda: [object()])
    return SimpleNamespace(records=Records(), cache=Cache(), readers=readers, **lanes)


def scrape(control: Any) -> list[str]:  # noqa: ANN401  likewise
    metrics = Metrics()
    metrics.registry.register(ControlCollector(cast("Control", control)))
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if not line.startswith("#")]


def test_gauges_show_the_present_state_and_go_with_it(control: Any) -> None:  # noqa: ANN401  likewise
    record = control.records[KEY]
    record.reading = Reading(at(0), 30, 40, 5)
    record.decision = Decision(2, Why.BACKLOG, (), Memory())
    metadata = {**KEY._asdict(), "uid": "d", "resourceVersion": "1"}
    control.cache.see_deployment({"metadata": metadata, "spec": {"replicas": 3}, "status": {"readyReplicas": 1}})
    mine = [line for line in scrape(control) if "thumbnails" in line]
    assert mine == [
        'taskqueue_queue_ready{name="thumbnails",namespace="media"} 30.0',
        'taskqueue_queue_unacked{name="thumbnails",namespace="media"} 5.0',
        'taskqueue_desired_replicas{name="thumbnails",namespace="media"} 2.0',
        'taskqueue_replicas{name="thumbnails",namespace="media"} 3.0',
        'taskqueue_ready_replicas{name="thumbnails",namespace="media"} 1.0',
    ]
    del control.records[KEY]
    assert [line for line in scrape(control) if "thumbnails" in line] == []


def test_an_unknown_depth_is_no_zero(control: Any) -> None:  # noqa: ANN401  likewise
    control.records[KEY].reading = Reading(at(0), None, None, None, Doubt.NO_SWEEP)
    assert [line for line in scrape(control) if "thumbnails" in line] == []


def test_lanes_and_readers_are_counted(control: Any) -> None:  # noqa: ANN401  likewise
    lines = scrape(control)
    assert 'taskqueue_lane_depth{lane="report"} 2.0' in lines
    assert "taskqueue_broker_readers 1.0" in lines


def test_what_the_loop_does_is_counted_without_a_label_per_object() -> None:
    metrics = Metrics()
    metrics.scaled(KEY, 0, 5, "Backlog")
    metrics.scaled(KEY, 5, 0, "Idle")
    metrics.wrote("status")
    metrics.reconciled(settled=False)
    metrics.retained(KEY, "Secret gone")
    text = generate_latest(metrics.registry).decode()
    assert 'taskqueue_scalings_total{direction="out",reason="Backlog"} 1.0' in text
    assert 'taskqueue_scalings_total{direction="in",reason="Idle"} 1.0' in text
    assert 'taskqueue_writes_total{what="status"} 1.0' in text
    assert 'taskqueue_reconciles_total{result="fault"} 1.0' in text
    assert "taskqueue_retained_topologies_total 1.0" in text
    assert "thumbnails" not in text
