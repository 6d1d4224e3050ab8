"""The watchdog names an interpreter that was held."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import pytest
import structlog.testing

from taskqueue_worker import bounds, watchdog
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.runner import Runner
from taskqueue_worker.watchdog import Watchdog

pytestmark = pytest.mark.looptime


async def test_an_interpreter_that_is_held_between_two_checks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    held = iter([bounds.HELD_SECONDS + 1.0])

    def check() -> None:
        """Lose the interpreter once, at the end of a check."""
        clock[0] += next(held, 0.0)

    handlers = cast("HandlerLoop", SimpleNamespace(is_held=False, held_seconds=0.0, check=check))
    runner = cast("Runner", SimpleNamespace(notice_ends=lambda: None))
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    watching = asyncio.create_task(Watchdog(handlers, runner, Metrics("media/jobs", "1", ())).run())
    with structlog.testing.capture_logs() as lines:
        await asyncio.sleep(3.5 * bounds.WATCH_PERIOD_SECONDS)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert [line["seconds"] for line in lines if line["event"] == "interpreter held"] == [bounds.HELD_SECONDS + 1.0]
