"""Log lines of the operator and of libraries are JSON."""

import ast
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from taskqueue_operator.app import logs
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key

PASSWORD = "hunter2"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Logging as in the operator; returns what was written, each line parsed."""
    root, written = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("info")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def test_a_line_of_the_operator_has_its_values_as_fields(lines: Lines) -> None:
    structlog.get_logger("scale").info("scaled", taskqueue=str(Key("media", "a")), before=0, why=Reason.READY)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "scaled",
        "taskqueue": "media/a",
        "before": 0,
        "why": "Ready",
        "level": "info",
        "logger": "scale",
    }


def test_a_line_of_a_library_has_the_same_form(lines: Lines) -> None:
    logging.getLogger("kopf.objects").warning("watch of %s ended", "pods")
    (line,) = lines()
    assert (line["message"], line["logger"], line["level"]) == ("watch of pods ended", "kopf.objects", "warning")


def test_lines_beyond_the_share_of_a_taskqueue_are_dropped(lines: Lines) -> None:
    for _ in range(bounds.TASKQUEUE_LOG_LINES_AT_ONCE + 50):
        structlog.get_logger("status").info("condition changed", taskqueue="media/flapping")
    assert bounds.TASKQUEUE_LOG_LINES_AT_ONCE <= len(lines()) <= bounds.TASKQUEUE_LOG_LINES_AT_ONCE + 10


def test_requests_that_libraries_log_are_omitted(lines: Lines) -> None:
    for chatty in ("httpcore", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).info("one line for each request")
    structlog.get_logger("scale").debug("below the level")
    assert lines() == []


@pytest.mark.parametrize("library", [True, False])
def test_a_stack_trace_is_part_of_its_line(lines: Lines, library: bool) -> None:  # noqa: FBT001  parametrized
    fault = BrokerFault(Reason.BROKER_UNREACHABLE, "two\nlines")
    if library:
        logging.getLogger("library").error("failed", exc_info=fault)
    else:
        structlog.get_logger("ours").error("failed", exc_info=fault)
    (line,) = lines()
    assert line["message"] == "failed"
    assert "BrokerFault: two\nlines" in line["exception"]


def test_a_stack_trace_contains_no_values(lines: Lines) -> None:
    """Invariant 10: a local variable may hold a password."""

    def connect(password: str) -> None:
        raise ConnectionError(f"refused after {len(password)} letters")

    try:
        connect(PASSWORD)
    except ConnectionError:
        structlog.get_logger("ours").exception("failed")
    (line,) = lines()
    assert "refused after 7 letters" in line["exception"]
    assert PASSWORD not in json.dumps(line)


def test_a_value_without_a_json_type_is_written_as_text(lines: Lines) -> None:
    structlog.get_logger("ours").info("odd", key=Key("n", "a"), error=ValueError("no"), raw=b"x")
    (line,) = lines()
    assert (line["key"], line["error"]) == ("n/a", "no")


@pytest.mark.slow
def test_no_line_of_the_operator_has_a_field_that_the_formatter_overwrites() -> None:
    """The event becomes the field `message` and overwrites a field of that name."""
    package = Path(logs.__file__).parents[1]
    calls = [
        f"{path.name}:{node.lineno}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS
        if {"message", "event"} & {keyword.arg for keyword in node.keywords}
    ]
    assert calls == []
