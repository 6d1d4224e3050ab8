"""Reports without a reason."""

from typing import Final

from taskqueue_drain.conformance.case import Case
from taskqueue_drain.worker_protocol import DRAINING_REPORT_PERIOD_SECONDS, REPORT_PERIOD_SECONDS

LATE_SECONDS: Final = 5
"""How much later than due a report may be."""


async def consuming(case: Case) -> None:
    """Wait for the next report of a worker that consumes."""
    await _reports_again(case, REPORT_PERIOD_SECONDS)


async def drained(case: Case) -> None:
    """Wait for the next report of a drained worker."""
    await case.done("report-times", "drain")
    await case.reaches("report-times", "drained", "an idle worker is not drained")
    await _reports_again(case, DRAINING_REPORT_PERIOD_SECONDS)


async def _reports_again(case: Case, period: float) -> None:
    last = case.operator.last
    await case.require(
        "report-times",
        f"no further report of a worker that is {last.state} within {period} s",
        lambda: case.operator.last is not last,
        period + LATE_SECONDS,
    )
