"""What an application writes: handlers, registered by task type."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

    from structlog.typing import FilteringBoundLogger

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Context:
    """What a handler may want to know about the task it runs."""

    task_id: str | None
    """The AMQP message_id: the same at each redelivery. None if the publisher set none."""
    type: str
    routing_key: str
    headers: Mapping[str, Any]
    redelivered: bool
    """Somebody may have begun this task before."""
    deadline: datetime
    """When the task is cancelled and dead-lettered; in UTC."""
    draining: "asyncio.Event"
    """Set once the worker has been asked to leave: a long handler may cut its work short. Threads may read it too."""
    log: "FilteringBoundLogger"
    """Every line carries task_id and type."""


@dataclass(frozen=True)
class Handler:
    """A function that does the tasks of one type."""

    type: str
    function: Callable[..., Any]
    place: str
    wants_context: bool
    is_coroutine: bool

    def arguments(self, payload: object, context: Context) -> tuple[object, ...]:
        """What to call the function with."""
        return (payload, context) if self.wants_context else (payload,)


@dataclass(frozen=True)
class Registry:
    """The handlers of one worker, one per task type."""

    _handlers: dict[str, Handler] = field(default_factory=dict)

    def task(self, type: str) -> Callable[[Function], Function]:  # noqa: A002 - named as the AMQP property it matches
        """Make the decorated function the handler of tasks of this type.

        The function takes (payload) or (payload, context), and may be `async def` (runs on the event loop) or `def`
        (runs in a thread). Returning means done; an exception sends the message to the dead-letter queue.

        Raises:
            TypeError: the function takes other arguments, or has a `yield`.
            ValueError: the type is empty, or has a handler already.
        """
        if not isinstance(type, str) or not type:  # type: ignore[redundant-expr]  # @task without parentheses
            raise ValueError('@task needs the task type: @task("image.resize")')

        def register(function: Function) -> Function:
            handler = _handler(type, function)
            if (other := self._handlers.get(type)) is not None:
                raise ValueError(
                    f"Task type {type!r} has two handlers: {other.place} and {handler.place}. Rename or remove one."
                )
            self._handlers[type] = handler
            return function

        return register

    def get(self, type: str) -> Handler | None:  # noqa: A002 - named as the AMQP property it matches
        """The handler of that type, if there is one."""
        return self._handlers.get(type)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())


def _handler(type: str, function: Callable[..., Any]) -> Handler:  # noqa: A002 - named as the AMQP property it matches
    place = _place(function)
    if _asked(function, inspect.isgeneratorfunction) or _asked(function, inspect.isasyncgenfunction):
        raise TypeError(f"{place} must not yield: calling it would run none of it. Return when the task is done.")
    parameters = list(inspect.signature(function).parameters.values())
    required = sum(1 for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD})
    positional = sum(1 for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD})
    if not 1 <= positional <= 2 or required > positional:  # noqa: PLR2004 - payload, and payload with context
        raise TypeError(f"{place} must take (payload) or (payload, context).")
    is_coroutine = _asked(function, inspect.iscoroutinefunction)
    return Handler(type, function, place, wants_context=positional > 1, is_coroutine=is_coroutine)


def _asked(function: Callable[..., Any], question: Callable[[object], bool]) -> bool:
    # An instance is what its __call__ is.
    return question(function) or question(
        getattr(function, "__call__", None)  # noqa: B004 - not asked whether it is callable, but what it returns
    )


def _place(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(function)
    name = f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
    code = getattr(inner, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


registry = Registry()
task = registry.task
