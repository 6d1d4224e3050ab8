"""The reports of one TaskQueue, which its workers may send at any rate."""

import asyncio
import json
from dataclasses import asdict

import pytest
import structlog.testing

from taskqueue_operator.control.drain_state import DrainState
from taskqueue_operator.control.scale.report_reader import read_report
from taskqueue_operator.resource.bounds import (
    REPORT_LOG_LINES_AT_ONCE,
    TASKQUEUE_REPORTS_AT_ONCE,
    TASKQUEUE_REPORTS_PER_SECOND,
)
from tests.unit.drain.builders import report

pytestmark = pytest.mark.looptime

TASKQUEUE = "media/thumbnails"


def read(drain: DrainState, count: int, taskqueue: str = TASKQUEUE) -> int:
    """Read so many reports in one moment; return how many are within the bounds."""
    message = json.dumps(asdict(report("a"))).encode()
    return sum(read_report(taskqueue, message, drain, task_timeout_seconds=300) is not None for _ in range(count))


async def test_reports_beyond_the_rate_are_not_read_and_named_in_a_few_log_lines() -> None:
    drain = DrainState()
    with structlog.testing.capture_logs() as lines:
        assert read(drain, 2 * TASKQUEUE_REPORTS_AT_ONCE) == TASKQUEUE_REPORTS_AT_ONCE
        await asyncio.sleep(2)
        assert read(drain, TASKQUEUE_REPORTS_AT_ONCE) == 2 * TASKQUEUE_REPORTS_PER_SECOND
    assert len(lines) == REPORT_LOG_LINES_AT_ONCE
    assert read(DrainState(), 1) == 1, "another TaskQueue has an allowance of its own"


async def test_a_report_about_another_taskqueue_is_refused() -> None:
    with structlog.testing.capture_logs() as lines:
        assert read(DrainState(), 1, taskqueue="media/another") == 0
    assert [line["event"] for line in lines] == ["report refused"]
