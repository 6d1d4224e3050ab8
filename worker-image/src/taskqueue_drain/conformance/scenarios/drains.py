"""Drains of a worker that is idle and of one that is busy, with their ends, and SIGTERM."""

import asyncio
import time
from typing import Final

from taskqueue_drain.conformance.case import Case
from taskqueue_drain.drain_lease import LEAVING
from taskqueue_drain.worker_protocol import DRAINING_REPORT_PERIOD_SECONDS

from .periods import reports_again

LEASE_SECONDS: Final = 1.0
WAITING: Final = 3
"""Messages that wait behind a running task."""
LATE_RETURN: Final = "messages that have not begun return only after the end of the running task"


async def idle(case: Case) -> None:
    """Drain an idle worker, undrain it, and let a drain expire."""
    is_apart = not case.deliveries.share_connection
    case.check("own-connection", "reports leave on the connection of the consumers", holds=is_apart)
    await case.probe("/healthz", "200 while the worker consumes", is_good=True)
    await case.probe("/readyz", "200 while the worker consumes", is_good=True)
    await _drained_worker_receives_nothing(case)
    await _undrain(case)
    await _lease(case)


async def _drained_worker_receives_nothing(case: Case) -> None:
    await case.done("drained-is-certain", "drain")
    await case.reaches("drained-is-certain", "drained", "an idle worker is not drained")
    await case.publish()
    await reports_again(case, DRAINING_REPORT_PERIOD_SECONDS)
    await case.probe("/healthz", "200 while the worker is drained", is_good=True)
    await case.probe("/readyz", "another code than 200 while the worker is drained", is_good=False)
    is_quiet = case.deliveries.delivered == 0 and await case.ready() == 1
    case.check("drained-is-certain", "a drained worker received a message", holds=is_quiet)


async def _undrain(case: Case) -> None:
    former = set(case.deliveries.tags)
    report = await case.done("undrain", "undrain")
    case.check("undrain", "the answer still has a drain", holds=report.fields.get("drain") is None)
    await case.reaches("undrain", "consuming", "an undrained worker does not consume")
    await case.require(
        "undrain", "an undrained worker does not run its next task", lambda: case.deliveries.acknowledged >= 1
    )
    tags = case.deliveries.tags[len(former) :]
    case.check("undrain", "a consumer tag was used again", holds=bool(tags) and former.isdisjoint(tags))
    await case.done("undrain", "undrain")  # of a worker that is not drained


async def _lease(case: Case) -> None:
    await case.done("lease", "drain")
    # A slow worker may answer a short drain after its end, and so with a refusal.
    await case.command("lease", "drain", lease_seconds=LEASE_SECONDS)
    await case.done("lease", "drain")
    await asyncio.sleep(LEASE_SECONDS)
    if await case.state("lease") == "consuming":
        case.broken("lease", "a further drain did not renew the lease")
    began_at = time.monotonic()
    await case.command("lease", "drain", lease_seconds=LEASE_SECONDS)
    report = await case.reaches("lease", "consuming", "the worker is drained after the end of its lease")
    case.check("lease", "the lease ended too early", holds=report.at - began_at >= LEASE_SECONDS)
    case.check("lease", "the report after the lease still has a drain", holds=report.fields.get("drain") is None)
    case.check("report-times", "the end of the lease was not reported by itself", holds=not report.answer)


async def busy(case: Case) -> None:
    """Drain a worker with a running task and further messages, and undrain it."""
    async with case.running_task("drain"):
        await _deliver(case)
        report = await case.done("drain", "drain")
        is_certain = report.state == "draining" or report.fields.get("in_flight") != 1
        case.check("drained-is-certain", f"{report.state} with a running task", holds=is_certain)
        await case.probe("/readyz", "200 while the worker is draining", is_good=True)
        await _returns(case, "drain")
        await case.check_runs("drain", LATE_RETURN)
    drained = await case.reaches("drain", "drained", "the worker is not drained after its task has ended")
    case.check("report-times", "the end of the last task was not reported by itself", holds=not drained.answer)
    case.check("drained-is-certain", "drained with a message that is not settled", holds=case.deliveries.unsettled == 0)
    _ran_once(case, "drain")
    await case.done("undrain", "undrain")
    await case.require(
        "undrain",
        "the tasks that were returned do not run after the undrain",
        lambda: case.deliveries.acknowledged >= 1 + WAITING,
    )


async def sigterm(case: Case) -> None:
    """Send SIGTERM to a worker with a running task and further messages."""
    async with case.running_task("sigterm"):
        await _deliver(case)
        case.process.terminate()
        await case.reaches("sigterm", "leaving", "the worker does not report leaving after SIGTERM")
        for verb in ("drain", "undrain"):
            await case.refused("sigterm", verb, LEAVING)
        state = await case.state("sigterm")
        case.check("sigterm", f"{state} after leaving", holds=state == "leaving")
        await case.probe("/readyz", "another code than 200 while the worker is leaving", is_good=False)
        await _returns(case, "sigterm")
        await case.check_runs("sigterm", LATE_RETURN)
    await case.require("sigterm", "the worker does not end after its task", lambda: case.process.exit_code is not None)
    code = case.process.exit_code
    case.check("sigterm", f"COMMAND ended with exit code {code}", holds=code == 0)
    _ran_once(case, "sigterm")
    case.check("sigterm", "a message that ran or waited has no end", holds=await case.ready() == WAITING)


async def _deliver(case: Case) -> None:
    """Publish further messages, and wait until the worker was sent all that it prefetches."""
    await case.publish(WAITING)

    async def are_sent() -> bool:
        return case.deliveries.delivered + await case.ready() >= 1 + WAITING

    await case.happens(are_sent)


async def _returns(case: Case, rule: str) -> None:
    """Demand that what has not begun returns: a quorum queue may treat it otherwise after another method."""

    async def returned() -> bool:
        return await case.ready() == WAITING

    await case.require(rule, "messages that have not begun do not return to the queue", returned)
    if rejected := case.deliveries.rejected:
        case.broken(rule, f"{rejected} messages returned by another method than basic.nack")


def _ran_once(case: Case, rule: str) -> None:
    """Check that the running task ended, and that no other one began."""
    acknowledged, lost = case.deliveries.acknowledged, case.deliveries.lost
    case.check(rule, "another task began after the worker had stopped", holds=acknowledged <= 1)
    case.check(rule, "the running task was not acknowledged", holds=acknowledged >= 1)
    case.check(rule, "the worker closed the channel of a message that was not settled", holds=lost == 0)
