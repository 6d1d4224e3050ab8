"""The moment of a state is its first report, not its last one."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import orjson
from aio_pika.abc import AbstractIncomingMessage

from tests.bench.reports import Reports


async def report_state(reports: Reports, pod: str, state: str) -> None:
    report: dict[str, Any] = {"pod": pod, "state": state}
    await reports.on_report(cast("AbstractIncomingMessage", SimpleNamespace(body=orjson.dumps(report))))


async def test_a_repeated_report_keeps_the_moment_of_the_state() -> None:
    reports = Reports()
    await report_state(reports, "a", "consuming")
    first = reports.in_state("consuming")
    await report_state(reports, "a", "consuming")

    assert reports.in_state("consuming") == first


async def test_a_state_entered_again_has_a_new_moment() -> None:
    reports = Reports()
    for state in ("consuming", "draining", "consuming"):
        before = reports.in_state("consuming")
        await report_state(reports, "a", state)

    assert before == {}
    assert reports.in_state("consuming").keys() == {"a"}


async def test_until_returns_when_the_last_worker_reports_the_state() -> None:
    reports = Reports()
    await report_state(reports, "a", "consuming")
    waiting = asyncio.create_task(reports.until(2, "consuming"))
    await report_state(reports, "b", "draining")
    await asyncio.sleep(0)
    assert not waiting.done()

    await report_state(reports, "b", "consuming")

    assert (await waiting).keys() == {"a", "b"}
