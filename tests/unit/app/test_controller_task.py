"""The controller as a task: the objects of its start are not scanned by the garbage collector."""

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


async def test_no_garbage_is_collected_until_all_queues_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    task = ControllerTask(_Controller(), asyncio.Event())
    await task.start()
    assert (frozen, gc.isenabled()) == ([False], True)
    await task.end()
    assert not task.crashed
