"""Drains while the broker is late or the connection is lost: the proxy makes these moments certain."""

import asyncio
from typing import Final

from taskqueue_drain.conformance.case import Case
from taskqueue_drain.conformance.holds import AfterCancel, LateMessage
from taskqueue_drain.conformance.operator_side import Report
from taskqueue_drain.conformance.report_fields import shown
from taskqueue_drain.worker_protocol import CANCEL_TIMEOUT_SECONDS

RECONNECT_SECONDS: Final = 4
"""How much longer a task runs that must still run after a reconnect."""
LOST_SECONDS: Final = 1.0
"""Length of the lease that ends without a connection."""


async def unconfirmed(case: Case) -> None:
    """Hold back what the broker answers after `basic.cancel-ok`, while the worker is idle and while a task runs."""
    rule = "unconfirmed-drain"
    await _refuses_unconfirmed(case)
    async with case.running_task(rule, longer_by=CANCEL_TIMEOUT_SECONDS):
        report = await _refuses_unconfirmed(case)
        runs = report.fields.get("in_flight") == 1
        case.check(rule, "the running task ended when a drain was refused", holds=runs)
    await case.require(
        rule, "a task that ran while a drain was refused does not end", lambda: case.deliveries.acknowledged >= 1
    )
    is_kept = case.deliveries.lost == 0
    case.check(rule, "the worker gave up the channel of a running task", holds=is_kept)


async def _refuses_unconfirmed(case: Case) -> Report:
    channels = frozenset(case.deliveries.consuming)
    case.proxy.hold(AfterCancel())
    before = len(case.operator.reports)
    report = await case.command("unconfirmed-drain", "drain")
    has_closed = channels.isdisjoint(case.deliveries.channels)  # nothing arrives on a channel that is closed
    is_drained = "drained" in {report.state for report in list(case.operator.reports)[before:]}
    if is_drained and not has_closed:
        case.broken("drained-is-certain", "drained before a synchronous method after basic.cancel was answered")
    case.check("drained-is-certain", "", holds=True)
    if report.answer.get("result") != "refused" and not is_drained:
        case.broken("unconfirmed-drain", "a drain that the broker did not confirm was not refused")
    case.proxy.release()
    await case.done("unconfirmed-drain", "undrain")
    await case.reaches("unconfirmed-drain", "consuming", "the worker does not consume after a drain that it refused")
    return report


async def late_message(case: Case) -> None:
    """Deliver a message after `basic.cancel-ok`, as a broker does that has not yet processed the cancel."""
    rule = "late-message"
    hold = LateMessage(frozenset(case.deliveries.consuming))
    case.proxy.hold(hold)
    await case.publish()
    await case.require(rule, "the worker consumes nothing", lambda: hold.messages >= 1)
    sent = await case.operator.send("drain")
    await case.require(rule, "no synchronous method follows the cancel", lambda: hold.answers > 0)
    synchronous = case.deliveries.synchronous
    case.proxy.release()
    await _is_done(case, rule, sent)

    async def returned() -> bool:
        return await case.ready() == 1

    await case.require(rule, "a message that arrives after basic.cancel-ok does not return to the queue", returned)
    case.check(rule, "a message that arrives after basic.cancel-ok begins", holds=case.deliveries.acknowledged == 0)
    await case.require(
        rule,
        "the worker does not repeat the synchronous method after a message that arrives after basic.cancel-ok",
        lambda: case.deliveries.synchronous > synchronous,
    )
    await case.reaches(rule, "drained", "the worker is not drained after a message that arrives after basic.cancel-ok")
    await case.done(rule, "undrain")
    await case.require(
        rule, "the message that arrived after basic.cancel-ok does not run", lambda: case.deliveries.acknowledged >= 1
    )


async def _is_done(case: Case, rule: str, sent: str) -> None:
    """Demand that the drain with this id is done: the kit must have been faster than the timeout of the drain."""
    await case.require(rule, "no answer to a drain with a late message", lambda: case.operator.answers(sent))
    answer = case.operator.answers(sent)[-1].answer
    if answer.get("result") != "done":
        case.findings.is_doubtful = True
        case.broken(rule, f"a drain with a late message was refused: {shown(answer.get('reason'))}")


async def lost_connection(case: Case) -> None:
    """Close the connections of a drained worker, and let a lease expire while there is none."""
    rule = "lost-connection"
    async with case.running_task(rule, longer_by=RECONNECT_SECONDS):
        drain = (await case.done(rule, "drain")).fields.get("drain")
        case.proxy.cut()
        report = await _reconnects(case, rule)
        is_drained = report.state in {"draining", "drained"} and report.fields.get("drain") == drain
        if not is_drained:
            case.broken(rule, f"{report.state} after the loss of the connection: the drain has ended")
        runs = report.fields.get("in_flight") == 1
        case.check(rule, "the running task ended with the connection", holds=runs)
    await case.probe("/healthz", "200 after the loss of the connection", is_good=True)
    await case.reaches(rule, "drained", "the worker is not drained after its task has ended")
    await _lease_ends_without_connection(case)


async def _lease_ends_without_connection(case: Case) -> None:
    rule = "lost-connection"
    await case.command(rule, "drain", lease_seconds=LOST_SECONDS)
    case.proxy.cut(refuse=True)
    await asyncio.sleep(LOST_SECONDS)
    await case.probe("/healthz", "200 while the worker tries to connect", is_good=True)
    case.proxy.accept()
    has_ended = (await _reconnects(case, rule)).fields.get("drain") is None
    case.check(rule, "the lease of the drain did not expire without a connection", holds=has_ended)
    await case.reaches(rule, "consuming", "the worker does not consume after the end of its lease")


async def _reconnects(case: Case, rule: str) -> Report:
    """Wait for a report of another connection than the last one."""
    operator, address = case.operator, case.operator.last.reply_to
    await case.require(rule, "no report after the loss of the connection", lambda: operator.last.reply_to != address)
    return operator.last
