"""The controller as a task beside kopf: kopf's startup handler starts it, kopf's cleanup handler ends it."""

import asyncio
import gc

import structlog

from taskqueue_operator.control.controller import Controller

from .exit_deadline import stop_on_signals
from .garbage_collection import exempt_all


class ControllerTask:
    """Runs the controller, and stops kopf if the controller ends by itself.

    Attributes:
        stop: Set when the process must end.
        crashed: Whether the controller ended without being cancelled.
    """

    def __init__(self, controller: Controller, stop: asyncio.Event) -> None:
        self.stop = stop
        self.crashed = False
        self._controller = controller
        self._task: asyncio.Task[None] | None = None

    async def start(self, **_: object) -> None:
        """Start the controller; a kopf startup handler.

        kopf starts its watches after that, so they wait until all queues are read: the objects of thousands of
        TaskQueues occupy the processor for seconds.
        """
        stop_on_signals(self.stop)  # kopf has installed handlers of its own
        gc.disable()
        self._task = asyncio.create_task(self._controller.run(), name="controller")
        self._task.add_done_callback(lambda _: self.stop.set())
        first_read = asyncio.create_task(self._controller.first_read.wait())
        await asyncio.wait([self._task, first_read], return_when=asyncio.FIRST_COMPLETED)
        first_read.cancel()
        # The objects of the first read live long, and so are exempt without a scan; `short_collections` goes on.
        exempt_all()
        gc.enable()

    async def end(self, **_: object) -> None:
        """Cancel the controller and wait for it; a kopf cleanup handler."""
        if self._task is None:
            return
        self.crashed = self._task.done()
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        if self.crashed:
            structlog.get_logger("main").critical("controller crashed", exc_info=outcome)
