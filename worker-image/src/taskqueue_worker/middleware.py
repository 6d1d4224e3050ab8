"""What surrounds a handler: each middleware runs on the loop of the handlers, and proceeds to the next one."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from .tasks import Context, Handler

Proceed = Callable[[], Awaitable[object]]
"""Runs the next middleware, or the handler, and returns its result."""


@dataclass(frozen=True, slots=True)
class Call:
    """A task that is about to run."""

    context: Context
    payload: object
    """The payload as the handler receives it."""
    task: Handler
    """The declaration of the handler."""


class Middleware(Protocol):
    """Runs around a handler. What it raises has the effect that it has in a handler (`outcomes`).

    It may also be `Refusing`.
    """

    async def __call__(self, call: Call, proceed: Proceed, /) -> object:
        """Return the result of `proceed`, or return without it if the task has nothing to do."""
        ...


@runtime_checkable
class Refusing(Protocol):
    """A middleware that refuses each task for some time, and knows for how long."""

    @property
    def refused_seconds(self) -> float:
        """For how long it refuses each task, at most; 0 if it lets the next one through."""
        ...


class Refusals:
    """Tells whether every handler of a worker refuses its tasks: no message needs to start then, only to come back."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        by_handler = [[one for one in handler.around if isinstance(one, Refusing)] for handler in handlers]
        self._by_handler = by_handler if all(by_handler) else []

    @property
    def refused_seconds(self) -> float:
        """For how long every handler refuses its tasks, at most; 0 if one of them does not."""
        seconds = (max(one.refused_seconds for one in refusing) for refusing in self._by_handler)
        return min(seconds, default=0.0)


async def run_around(call: Call, proceed: Proceed) -> object:
    """Run the middleware of a task, of which the first is the outermost, and in the middle `proceed`."""
    for middleware in reversed(call.task.around):
        proceed = partial(middleware, call, proceed)
    return await proceed()
