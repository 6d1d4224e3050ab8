"""A stretch of work that holds the event loop is measured, and named while it lasts."""

import asyncio
import threading
from collections.abc import MutableMapping
from typing import Any, NoReturn

import pytest
import structlog

from taskqueue_operator.app import loop_lag
from taskqueue_operator.app.loop_lag import LONG_STRETCH_SECONDS, measured_loop


class Lines:
    """The log, and a signal of its first line."""

    def __init__(self) -> None:
        self.entries: list[MutableMapping[str, Any]] = []
        self.arrived = threading.Event()

    def processor(self, _: object, __: str, line: MutableMapping[str, Any]) -> NoReturn:
        self.entries.append(line)
        self.arrived.set()
        raise structlog.DropEvent


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    lines = Lines()
    monkeypatch.setattr(loop_lag, "_log", structlog.wrap_logger(None, processors=[lines.processor]))
    return lines


@pytest.mark.slow
async def test_a_long_stretch_is_measured_and_named_while_it_lasts(lines: Lines) -> None:
    measured = asyncio.Event()

    def observe(seconds: float) -> None:
        if seconds > LONG_STRETCH_SECONDS:
            measured.set()

    async def hold_the_loop() -> bool:
        return lines.arrived.wait(30)

    with measured_loop(observe):
        assert await asyncio.create_task(hold_the_loop(), name="reconcile media/thumbnails")
        await asyncio.wait_for(measured.wait(), 30)
    assert lines.entries[0]["event"] == "event loop held"
    assert lines.entries[0]["task"] == "reconcile media/thumbnails"
    assert any("hold_the_loop" in call for call in lines.entries[0]["stack"])
