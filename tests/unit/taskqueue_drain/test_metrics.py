"""The page of metrics of a worker that joins, as Prometheus reads it."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from taskqueue_drain.metrics import CountingLog, Metrics
from taskqueue_drain.protocol import State
from taskqueue_drain.task_runs import Status, TaskRuns
from tests.unit.taskqueue_drain.fake_runtime import FakeRuntime

DOCS = Path(__file__).parents[3] / "docs"
HOSTILE = 'a"b\\n\n{c="d"} 1\ud800'


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page() -> str:
    runs, log = TaskRuns(0), CountingLog()
    for name in ("mail", HOSTILE):
        runs.begin(name, 0)
        runs.end(name, name, Status.TIMEOUT, 3)
    log.handled("drain", "done")
    log.reported()
    return Metrics(FakeRuntime(), runs, log, lambda: State.DRAINED, lambda: 2).page().decode()


def test_tasks_are_counted_by_name_and_status_whatever_their_name() -> None:
    found = values(page())
    assert found["taskqueue_worker_tasks_total", ("mail", "timeout")] == 1
    assert found["taskqueue_worker_tasks_total", (HOSTILE.replace("\ud800", "?"), "timeout")] == 1
    assert found["taskqueue_worker_task_duration_seconds_bucket", ("mail", "2.5")] == 0
    assert found["taskqueue_worker_task_duration_seconds_bucket", ("mail", "5")] == 1
    assert found["taskqueue_worker_task_duration_seconds_sum", ("mail",)] == 3
    assert found["taskqueue_worker_commands_total", ("drain", "done")] == 1
    assert (found["taskqueue_worker_consuming", ()], found["taskqueue_worker_draining", ()]) == (2, 1)


def test_the_docs_list_the_metrics_with_their_labels() -> None:
    section = (DOCS / "adapters.md").read_text().partition("| metric |")[2].partition("\n\n")[0]
    listed = re.findall(r"`(taskqueue_worker_\w+)(?:\{([\w,]+)\})?`", section)
    families = {family.name: family for family in text_string_to_metric_families(page())}
    served = {
        (name + "_total" if family.type == "counter" else name): set(family.samples[0].labels) - {"le"}
        for name, family in families.items()
    }
    assert {name: set(labels.split(",")) - {""} for name, labels in listed} == served
