"""What is counted, and that the documents name all of it and nothing else."""

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import REGISTRY, Counter, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from taskqueue_worker import metrics as metrics_module
from taskqueue_worker.application_metrics import ApplicationMetrics
from taskqueue_worker.bounds import CLOCK_SKEW_SECONDS, LONGEST_QUEUE_SECONDS
from taskqueue_worker.breaker.circuit import State
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.pools.child_exit import EndReason
from taskqueue_worker.queue_wait import queue_wait
from taskqueue_worker.run_outcome import Status

CONTRACT = Path(__file__).parents[3] / "docs/worker-contract.md"
NOW = 1_800_000_000.0


def everything() -> Metrics:
    """Do once what can be counted."""
    metrics = Metrics("media/thumbnails", "1", ["t"])
    for gauge in metrics_module._GAUGES:
        metrics.add_gauge(gauge, lambda: 1)
    metrics.count_start("q", "publish", 1)
    metrics.count_task("q", "t", Status.DONE, 1)
    metrics.count_dead_letter("q", "failed")
    metrics.count_retry("q")
    metrics.count_command("drain", "done")
    metrics.add_breaker("payments", lambda: State.OPEN)
    metrics.child_started()
    metrics.child_ended(EndReason.LOST)
    return metrics


def exposed() -> Iterator[tuple[str, set[str]]]:
    for family in text_string_to_metric_families(generate_latest(everything().registry).decode()):
        if family.name.startswith("taskqueue_") and not family.name.endswith("_created"):
            labels = set().union(*(sample.labels for sample in family.samples)) - {"le"}
            yield f"{family.name}_total" if family.type == "counter" else family.name, labels


def documented() -> Iterator[tuple[str, set[str]]]:
    for row in re.findall(r"^\| (`taskqueue_worker_.+?) \|", CONTRACT.read_text(), re.MULTILINE):
        for name, labels in re.findall(r"`([a-z_.]+)(?:\{(.+?)\})?`", row):
            yield name.replace("...", "taskqueue_worker"), set(labels.split(",")) - {""}


def test_every_metric_is_documented_with_its_labels_and_nothing_else_is() -> None:
    assert dict(documented()) == dict(exposed())


def test_a_type_without_a_handler_adds_no_series() -> None:
    metrics = everything()
    for n in range(5):
        metrics.count_task("q", f"hostile-{n}", Status.UNKNOWN_TYPE, 0)
    page = generate_latest(metrics.registry).decode()
    assert "hostile" not in page
    labels = {"queue": "q", "type": "unknown", "status": "unknown_type"}
    assert metrics.registry.get_sample_value("taskqueue_worker_tasks_total", labels) == 5


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (10, ("publish", 10)),
        (0.5, ("publish", 3)),  # it has been here for 3 seconds
        (-CLOCK_SKEW_SECONDS, ("publish", 3)),
        (-CLOCK_SKEW_SECONDS - 1, ("delivery", 3)),
        (LONGEST_QUEUE_SECONDS + 1, ("delivery", 3)),
    ],
)
def test_a_message_waits_since_its_plausible_timestamp(age: float, expected: tuple[str, float]) -> None:
    assert queue_wait(datetime.fromtimestamp(NOW - age, UTC), NOW, 3) == expected


def test_a_message_without_a_timestamp_waits_since_its_delivery() -> None:
    assert queue_wait(None, NOW, 3) == ("delivery", 3)


class BadCollector:
    def collect(self) -> list[Metric]:
        raise RuntimeError("broken")

    def describe(self) -> list[Metric]:
        return []


@pytest.fixture
def handlers() -> Iterator[HandlerLoop]:
    """A loop of handlers in its thread."""
    handlers = HandlerLoop(asyncio.new_event_loop())
    handlers.start_thread()
    yield handlers
    handlers.close()


def test_metrics_of_the_application_are_served_without_those_of_the_process(handlers: HandlerLoop) -> None:
    application = ApplicationMetrics(handlers)
    counter = Counter("thumbnails", "Thumbnails.")
    counter.inc(3)
    page = application.page().decode()
    assert "thumbnails_total 3.0" in page
    assert "\nprocess_" not in page
    bad = BadCollector()
    REGISTRY.register(cast("Counter", bad))
    assert application.page() == b""
    REGISTRY.unregister(cast("Counter", bad))
    REGISTRY.unregister(counter)


def test_a_scrape_waits_only_a_while_for_a_handler_that_holds_the_loop(
    handlers: HandlerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskqueue_worker.application_metrics.SCRAPE_SECONDS", 0.01)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait()

    handlers._inbox.post(hold)
    held.wait()
    assert ApplicationMetrics(handlers).page() == b""
    release.set()


def test_a_closed_loop_has_no_metrics(handlers: HandlerLoop) -> None:
    handlers.close()
    assert ApplicationMetrics(handlers).page() == b""
