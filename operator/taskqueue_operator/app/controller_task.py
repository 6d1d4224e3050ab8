"""The control loop beside kopf: begun with it, ended before it looks for tasks that were left over."""

import asyncio
import gc

import structlog

from taskqueue_operator.control.controller import Controller


class ControllerTask:
    """Runs the control loop; when it ends by itself, kopf is to end too.

    Attributes:
        stop: Set when kopf should end.
        crashed: Whether the control loop ended without being told to.
    """

    def __init__(self, control: Controller, stop: asyncio.Event) -> None:
        self.stop = stop
        self.crashed = False
        self._control = control
        self._task: asyncio.Task[None] | None = None

    async def begin(self, **_: object) -> None:
        """Start the control loop; a kopf startup handler.

        The watches wait until all queues are read: of thousands of objects they would take the processor for seconds.
        """
        gc.disable()
        self._task = asyncio.create_task(self._control.run(), name="control")
        self._task.add_done_callback(lambda _: self.stop.set())
        reading = asyncio.create_task(self._control.first_read.wait())
        await asyncio.wait([self._task, reading], return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        # What there is now stays: to look for garbage in it would hold up decisions for 150 ms, again and again.
        gc.freeze()
        gc.enable()

    async def end(self, **_: object) -> None:
        """End the control loop and wait for it; a kopf cleanup handler."""
        if self._task is None:
            return
        self.crashed = self._task.done()
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        if self.crashed:
            structlog.get_logger("main").critical("the control loop ended", exc_info=outcome)
