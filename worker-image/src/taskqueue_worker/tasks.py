"""The API for applications: handlers, registered by task type."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

    from structlog.typing import FilteringBoundLogger

    from .batches.batch import Batch
    from .batches.collector import Collector
    from .handlers.retry_rule import RetryRule
    from .middleware import Middleware

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Context:
    """The properties of the task that a handler runs."""

    task_id: str | None
    """The AMQP `message_id`: the same at each redelivery. None if the publisher set none."""
    type: str
    routing_key: str
    headers: Mapping[str, Any]
    redelivered: bool
    """Whether the broker delivered the message before: another worker may have started the task."""
    deadline: datetime
    """When the task is cancelled and has failed, in UTC."""
    attempt: int
    """Number of this attempt, from 1."""
    draining: "asyncio.Event"
    """Set at SIGTERM: a long handler may save its progress and return early. Threads may read it too."""
    log: "FilteringBoundLogger"
    """A logger whose lines carry `task_id` and `type`."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs the tasks of one type."""

    type: str
    function: Callable[..., Any]
    location: str
    """Module, name, file and line of the function."""
    wants_context: bool
    is_coroutine: bool
    around: "tuple[Middleware, ...]" = ()
    """What surrounds the function, from the outside in."""
    timeout: float | None = None
    """Seconds after which a task is cancelled; None: those of the worker."""
    retry: "RetryRule | None" = None
    """How tasks are tried again, where that differs from the worker."""
    collector: "Collector | None" = None
    """What the function is if it takes batches."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The handlers of one worker, one per task type."""

    _handlers: dict[str, Handler] = field(default_factory=dict)

    def task(
        self,
        type: str,  # noqa: A002 - named as the AMQP property it matches
        *,
        timeout: float | None = None,
        retry: "RetryRule | None" = None,
        batch: "Batch | None" = None,
        around: "Sequence[Middleware]" = (),
    ) -> Callable[[Function], Function]:
        """Make the decorated function the handler of tasks of this type.

        The function takes (payload) or (payload, context). `async def` runs on the event loop of the handlers, `def` in
        a thread. A return acknowledges the message; after an exception, the task is tried again or dead-lettered.

        Args:
            type: The task type.
            timeout: Seconds after which a task is cancelled, at most those of the worker.
            retry: How tasks are tried again, where that differs from `spec.retry`.
            batch: Lets the function take a list of payloads, and a list of contexts.
            around: Middleware that surrounds the function, from the outside in.

        Raises:
            TypeError: The function takes other arguments, or contains `yield`.
            ValueError: The type is empty, or already has a handler; the timeout is not positive.
        """
        if not isinstance(type, str) or not type:  # type: ignore[redundant-expr]  # @task without parentheses
            raise ValueError('@task needs the task type, for example @task("image.resize").')

        def register(function: Function) -> Function:
            handler = _handler(type, function, tuple(around))
            handler = replace(handler, timeout=_checked_timeout(timeout, handler.location), retry=retry)
            handler = handler if batch is None else _batched(handler, batch)
            if (other := self._handlers.get(type)) is not None:
                raise ValueError(
                    f"Task type {type!r} has two handlers: {other.location} and {handler.location}. "
                    "Rename or remove one."
                )
            self._handlers[type] = handler
            return function

        return register

    def get(self, type: str) -> Handler | None:  # noqa: A002 - named as the AMQP property it matches
        """Return the handler of this type, if any."""
        return self._handlers.get(type)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())


def _handler(
    type: str,  # noqa: A002 - named as the AMQP property it matches
    function: Callable[..., Any],
    around: "tuple[Middleware, ...]",
) -> Handler:
    location = _location(function)
    if _satisfies(function, inspect.isgeneratorfunction) or _satisfies(function, inspect.isasyncgenfunction):
        raise TypeError(f"{location} must not yield: a call would run none of it. Return when the task is done.")
    parameters = list(inspect.signature(function).parameters.values())
    required = sum(1 for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD})
    positional = sum(1 for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD})
    if not 1 <= positional <= 2 or required > positional:  # noqa: PLR2004 - payload, and payload with context
        raise TypeError(f"{location} must take (payload) or (payload, context).")
    is_coroutine = _satisfies(function, inspect.iscoroutinefunction)
    return Handler(type, function, location, wants_context=positional > 1, is_coroutine=is_coroutine, around=around)


def _batched(handler: Handler, batch: "Batch") -> Handler:
    from .batches.collector import Collector  # which knows the classes of this module

    collector = Collector(
        handler.function, batch, wants_context=handler.wants_context, is_coroutine=handler.is_coroutine
    )
    return replace(handler, function=collector, wants_context=True, is_coroutine=True, collector=collector)


def _checked_timeout(timeout: object, location: str) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"{location}: timeout={timeout!r} must be a positive number of seconds.")
    return timeout


def _satisfies(function: Callable[..., Any], predicate: Callable[[object], bool]) -> bool:
    # For an instance, its __call__ decides.
    return predicate(function) or predicate(
        getattr(function, "__call__", None)  # noqa: B004 - the kind of the method, not whether it exists
    )


def _location(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(function)
    name = f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
    code = getattr(inner, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


registry = Registry()
task = registry.task
