"""Each log line is one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "worker-image/src"
SCRIPT = """
import logging, structlog
from tests.unit.worker.messages import delivery
from taskqueue_worker import log
log.configure({arguments})
log.CURRENT_TASK.set(delivery("resize", message_id="id-1", headers={{"x-attempt": 2, "traceparent": {trace!r}}}))
structlog.contextvars.bind_contextvars(order=7)
log_ = structlog.get_logger()
log_.info("own", key={{1: object}})
logging.getLogger("library").warning("foreign %s", 1)
logging.getLogger("library").info("detail")
logging.getLogger("aiormq").error("noise")
try:
    raise ValueError("lone surrogate \\udcff")
except ValueError:
    log_.exception("odd text")
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
TASK = {"task_id": "id-1", "type": "resize", "attempt": 2, "trace_id": TRACE, "order": 7}

pytestmark = pytest.mark.slow


def lines(arguments: str = "", trace: str = PARENT) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments, trace=trace)],
        env={"PYTHONPATH": f"{SOURCE}:{ROOT}"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_every_line_is_json_and_carries_its_task() -> None:
    own, foreign, detail, odd = map(json.loads, lines())
    assert (own["event"], own["level"]) == ("own", "info")
    assert (foreign["event"], foreign["logger"], detail["event"]) == ("foreign 1", "library", "detail")
    assert "Traceback" in odd["exception"]
    for line in (own, foreign, detail, odd):
        assert line.items() >= TASK.items()


def test_a_header_that_is_no_trace_adds_no_field() -> None:
    assert all("trace_id" not in json.loads(line) for line in lines(trace="00-none"))


def test_the_level_applies_to_structlog_and_to_the_standard_library() -> None:
    assert [json.loads(line)["event"] for line in lines("logging.WARNING")] == ["foreign 1", "odd text"]


def test_a_terminal_gets_readable_lines() -> None:
    own, foreign, *_, last = lines("is_readable=True")
    assert "own" in own
    assert "task_id=id-1" in own
    assert "foreign 1" in foreign
    assert last == r"ValueError: lone surrogate \udcff"
