"""The controller as a task: what lives long is not scanned by the garbage collector."""

import asyncio
import gc

import pytest
from typing_extensions import override

from taskqueue_operator.app.controller_task import ControllerTask
from taskqueue_operator.control.controller import Controller

pytestmark = pytest.mark.looptime


class _Controller(Controller):
    """Has read all queues at once, and runs until cancelled."""

    def __init__(self) -> None:
        self.first_read = asyncio.Event()

    @override
    async def run(self) -> None:
        self.first_read.set()
        await asyncio.Event().wait()


async def test_what_lives_long_is_frozen_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, frozen = asyncio.get_running_loop(), list[float]()
    began = loop.time()
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(round(loop.time() - began)))
    task = ControllerTask(_Controller(), asyncio.Event())
    await task.start()
    await asyncio.sleep(300)
    assert gc.isenabled()
    await task.end()
    await asyncio.sleep(300)
    assert frozen == [0, 5, 15, 35, 75, 155]
    assert not task.crashed
