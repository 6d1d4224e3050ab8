"""What is overheard of workers is told from when they entered their state, not from when they last said so."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import orjson
from aio_pika.abc import AbstractIncomingMessage

from tests.bench.reports import Reports


async def say(reports: Reports, pod: str, state: str) -> None:
    report: dict[str, Any] = {"pod": pod, "state": state}
    await reports.hear(cast("AbstractIncomingMessage", SimpleNamespace(body=orjson.dumps(report))))


async def test_a_state_that_is_reported_again_began_when_it_was_first_reported() -> None:
    reports = Reports()
    await say(reports, "a", "consuming")
    first = reports.all_in("consuming")
    await say(reports, "a", "consuming")

    assert reports.all_in("consuming") == first


async def test_a_state_that_was_left_and_entered_anew_began_anew() -> None:
    reports = Reports()
    for state in ("consuming", "draining", "consuming"):
        before = reports.all_in("consuming")
        await say(reports, "a", state)

    assert before == {}
    assert reports.all_in("consuming").keys() == {"a"}


async def test_who_waits_for_a_number_of_workers_goes_on_with_the_last_of_them() -> None:
    reports = Reports()
    await say(reports, "a", "consuming")
    waiting = asyncio.create_task(reports.until(2, "consuming"))
    await say(reports, "b", "draining")
    await asyncio.sleep(0)
    assert not waiting.done()

    await say(reports, "b", "consuming")

    assert (await waiting).keys() == {"a", "b"}
