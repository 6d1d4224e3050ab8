"""What surrounds a handler: each middleware runs on the loop of the handlers, and proceeds to the next one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

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
    """Runs around a handler. What it raises has the effect that it has in a handler (`outcomes`)."""

    async def __call__(self, call: Call, proceed: Proceed, /) -> object:
        """Return the result of `proceed`, or return without it if the task has nothing to do."""
        ...


async def run_around(call: Call, proceed: Proceed) -> object:
    """Run the middleware of a task, of which the first is the outermost, and in the middle `proceed`."""
    for middleware in reversed(call.task.around):
        proceed = partial(middleware, call, proceed)
    return await proceed()
