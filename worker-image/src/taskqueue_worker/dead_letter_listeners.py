"""Tells the middleware of a task that its message is dead-lettered, perhaps without a run."""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

import structlog

from taskqueue_drain.aio import is_cancellation_requested

from .dead_letters import Problem
from .delivery import Delivery
from .handler_loop import HandlerLoop
from .tasks import Registry

TELL_SECONDS: Final = 10
"""How long the message of a task waits for its listeners, before it is acknowledged."""

_log = structlog.get_logger("settlement")


@runtime_checkable
class DeadLetterListener(Protocol):
    """Middleware that wants to know of dead letters. It may be told twice."""

    async def dead_lettered(self, delivery: Delivery, problem: Problem, /) -> None:
        """Take note of a dead letter that is stored; on the loop of the handlers."""
        ...


class DeadLetterListeners:
    """The listeners among the middleware of all handlers."""

    def __init__(self, registry: Registry, handlers: HandlerLoop) -> None:
        self._registry = registry
        self._handlers = handlers

    async def tell(self, delivery: Delivery, problem: Problem) -> None:
        """Tell the listeners of the task, from the connection's loop. Nothing that they do harms the message."""
        for listener in self._listeners_of(delivery.type):
            try:
                async with asyncio.timeout(TELL_SECONDS):
                    await self._handlers.submit(listener.dead_lettered(delivery, problem))
            except (Exception, asyncio.CancelledError) as error:
                if is_cancellation_requested():
                    raise
                _log.warning("dead letter not told", task_id=delivery.task_id, error=repr(error))

    def _listeners_of(self, type: str) -> Iterable[DeadLetterListener]:  # noqa: A002 - named as the AMQP property
        """Return those of each version: a task whose version is unknown is dead-lettered too."""
        around = {id(item): item for handler in self._registry if handler.type == type for item in handler.around}
        return [item for item in around.values() if isinstance(item, DeadLetterListener)]
