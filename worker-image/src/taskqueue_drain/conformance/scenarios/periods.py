"""Reports without a reason."""

import asyncio

from taskqueue_drain.conformance.case import Case
from taskqueue_drain.worker_protocol import REPORT_PERIOD_SECONDS


async def consuming(case: Case) -> None:
    """Wait for the next report of a worker that consumes."""
    await reports_again(case, REPORT_PERIOD_SECONDS)


async def reports_again(case: Case, period: float) -> None:
    """Check that the worker reports once the period is over."""
    last = case.operator.last
    await asyncio.sleep(period)
    reason = f"no further report of a worker that is {last.state} after {period:g} s"
    case.check("report-times", reason, holds=await case.happens(lambda: case.operator.last is not last))
