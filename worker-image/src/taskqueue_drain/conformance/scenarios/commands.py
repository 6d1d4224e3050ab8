"""Commands that are wrong, late, repeated or not for this worker."""

from typing import Final
from uuid import uuid4

from taskqueue_drain.bounds import INSTALLATIONS
from taskqueue_drain.conformance.case import Case
from taskqueue_drain.conformance.operator_side import EPOCH
from taskqueue_drain.conformance.report_fields import REPORT_BYTES
from taskqueue_drain.drain_lease import ANOTHER_INSTALLATION, SUPERSEDED, TOO_MANY

OTHER: Final = {"installation": "conformance-2", "epoch": 1}

NOT_VALID: Final[tuple[tuple[str, object], ...]] = (
    ("version", 2),
    ("version", None),
    ("command", "explode"),
    ("incarnation", 7),
    ("installation", None),
    ("epoch", str(EPOCH)),
    ("seq", True),
    ("lease_seconds", 0),
    ("lease_seconds", None),
    ("lease_seconds", 86400),
)
"""Fields of a drain, with values that the protocol does not permit. None: the field is missing."""

WITHOUT_ID: Final = (b"\xff", b"[]", b"{", b'{"version": 1}', b'{"id": 7, "version": 1}', b"", b" " * 2 * REPORT_BYTES)


async def run(case: Case) -> None:
    """Send them to one idle worker."""
    await _errors(case)
    await _another_incarnation(case)
    await _duplicates(case)
    await _order(case)
    await _another_installation(case)


async def _errors(case: Case) -> None:
    for field, value in NOT_VALID:
        await case.refused("errors", "drain", field, **{field: value})
        await _is_still(case, "errors", "consuming", f"a drain with {field} {value!r}")
    answers = sum(bool(report.answer) for report in case.operator.reports)
    for body in WITHOUT_ID:
        await case.operator.send_raw(body)
    await _is_still(case, "errors", "consuming", "messages without an id")
    answered = sum(bool(report.answer) for report in case.operator.reports) - 1
    case.check("errors", "a message without an id was answered", holds=answered == answers)
    await case.done("errors", "report", unknown="field")


async def _another_incarnation(case: Case) -> None:
    sent = await case.operator.send("drain", incarnation=uuid4().hex)
    await _is_still(case, "incarnation", "consuming", "a drain for another incarnation")
    case.check("incarnation", "a drain for another incarnation was answered", holds=not case.operator.answers(sent))


async def _duplicates(case: Case) -> None:
    for verb in ("drain", "undrain"):
        first, again = [await case.done("duplicates", verb, id=f"{verb} twice") for _ in range(2)]
        is_same = first.fields.get("drain") == again.fields.get("drain")
        case.check("duplicates", f"the second {verb} has another drain in its answer", holds=is_same)
    await case.reaches("duplicates", "consuming", "a second undrain keeps the worker from consuming")


async def _order(case: Case) -> None:
    await case.done("order", "drain", seq=4)
    await case.refused("order", "undrain", SUPERSEDED, seq=3)
    await case.refused("order", "undrain", SUPERSEDED, epoch=EPOCH - 1, seq=9)
    await _is_still(case, "order", "drained", "an undrain with a lower token", seq=4)
    await case.done("order", "undrain", epoch=EPOCH + 1)
    await case.refused("order", "drain", SUPERSEDED, seq=5)
    await _is_still(case, "order", "consuming", "a drain with a lower token", epoch=EPOCH + 1)


async def _another_installation(case: Case) -> None:
    await case.done("order", "drain", epoch=EPOCH + 1)
    for verb in ("drain", "undrain"):
        await case.refused("order", verb, ANOTHER_INSTALLATION, **OTHER)
    await _is_still(case, "order", "drained", "an undrain of another installation", epoch=EPOCH + 1)
    await case.done("order", "undrain", epoch=EPOCH + 1)
    await case.done("order", "drain", **OTHER)
    await case.done("order", "undrain", **OTHER)
    for number in range(2, INSTALLATIONS):
        await case.done("order", "report", installation=f"further {number}")
    await case.refused("order", "report", TOO_MANY, installation="one too many")


async def _is_still(case: Case, rule: str, state: str, event: str, **changes: object) -> None:
    report = await case.command(rule, "report", **changes)
    # A worker that has just been undrained may still be about to consume.
    if report.state != state and not await case.happens(lambda: case.operator.last.state == state):
        case.broken(rule, f"the worker is {case.operator.last.state} after {event}")
    case.check(rule, "", holds=True)
