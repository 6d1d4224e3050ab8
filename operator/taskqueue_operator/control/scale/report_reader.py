"""Reads the reports of workers within the bounds of each TaskQueue: a worker may send anything at any rate."""

from dataclasses import replace
from typing import Final

import structlog

from taskqueue_operator.control.clock import now
from taskqueue_operator.control.drain_state import DrainState
from taskqueue_operator.drain.protocol import Report, Result, Unreadable
from taskqueue_operator.resource.bounds import TASKQUEUE_REPORTS_PER_SECOND

TOO_MANY: Final = f"The workers send more than {TASKQUEUE_REPORTS_PER_SECOND} reports a second."

_log = structlog.get_logger("drain")


def read_report(taskqueue: str, message: bytes, drain: DrainState, *, task_timeout_seconds: int) -> Report | None:
    """Read a report.

    Args:
        taskqueue: The routing key that the report was published with: `namespace/name`.
        message: The report.
        drain: Holds the allowances of the TaskQueue.
        task_timeout_seconds: How long a task may run. A worker in a Deployment of others may know another value from
            its ConfigMap, and would call a task overdue that may still run: the larger one counts.

    Returns:
        The report; None for one that is beyond a bound, unreadable, or about another TaskQueue.
    """
    try:
        report = _read(taskqueue, message, drain)
    except Unreadable as error:
        if drain.report_log_lines.take(now()):
            _log.warning("report refused", taskqueue=taskqueue, detail=str(error))
        return None
    answer = report.answer
    if answer is not None and answer.result is Result.REFUSED and drain.report_log_lines.take(now()):
        _log.info("command refused", taskqueue=taskqueue, pod=report.pod, reason=answer.reason)
    return replace(report, task_timeout_seconds=max(report.task_timeout_seconds, task_timeout_seconds))


def _read(taskqueue: str, message: bytes, drain: DrainState) -> Report:
    if not drain.reports.take(now()):
        raise Unreadable(TOO_MANY)
    report = Report.parse(message)
    if report.taskqueue != taskqueue:
        raise Unreadable("Field taskqueue names another TaskQueue than the routing key.")
    return report
