"""The API for applications: handlers, registered by task type."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .batches.batch import Batch
    from .batches.collector import Collector
    from .breaker import Breaker
    from .handlers.payload_type import Validate
    from .handlers.retry_rule import RetryRule
    from .middleware import Middleware

from .bounds import LATEST_VERSION
from .context import Context
from .handlers.payload_type import validator_of
from .handlers.surroundings import surroundings

__all__ = ["Context", "Handler", "Registry", "lifespan", "registry", "task"]

Function = TypeVar(
    "Function", bound="Callable[[Any], Any] | Callable[[Any, Context], Any] | Callable[[Any, list[Context]], Any]"
)
Pool = Literal["async", "thread", "process"]
LifespanFunction = Callable[[], AsyncIterator[Any]]
Lifespan = TypeVar("Lifespan", bound=LifespanFunction)


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs the tasks of one type."""

    type: str
    version: int
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
    validate: "Validate | None" = None
    """Returns a payload as the function takes it; None if it takes every payload."""
    in_child: bool = False
    """Whether it runs in a process of its own."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The handlers of one worker, one per type and version of tasks."""

    _handlers: dict[tuple[str, int], Handler] = field(default_factory=dict)
    _lifespans: list[LifespanFunction] = field(default_factory=list)

    def task(  # noqa: PLR0913 - each option has a default
        self,
        type: str,  # noqa: A002 - named as the AMQP property it matches
        *,
        version: int = 1,
        pool: Pool | None = None,
        timeout: float | None = None,
        retry: "RetryRule | None" = None,
        batch: "Batch | None" = None,
        idempotent: "Middleware | None" = None,
        results: "Middleware | None" = None,
        breaker: "Breaker | None" = None,
        rate: "Middleware | str | None" = None,
        around: "Sequence[Middleware]" = (),
    ) -> Callable[[Function], Function]:
        """Make the decorated function the handler of tasks of this type.

        The function takes (payload) or (payload, context). `async def` runs on the event loop of the handlers, `def` in
        a thread. A return acknowledges the message; after an exception, the task is tried again or dead-lettered.

        Args:
            type: The task type.
            version: The version of the payloads that the function takes.
            pool: Where the function runs: "async", "thread", or "process" for a `def` that computes or may harm its
                process. Default: `async def` on the event loop, `def` in a thread.
            timeout: Seconds after which a task is cancelled, at most those of the worker.
            retry: How tasks are tried again, where that differs from `spec.retry`.
            batch: Lets the function take a list of payloads, and a list of contexts.
            idempotent: Runs a task once, for example `Idempotent(store)`.
            results: Keeps the status and result of tasks, for example `Results(store)`.
            breaker: Gives messages back while the service that the function needs is away.
            rate: How many tasks may start in this process, for example `10/s`; or `SharedRate(...)`.
            around: Further middleware that surrounds the function, inside of the options above, from the outside in.

        Raises:
            TypeError: The function takes other arguments, contains `yield`, or is of the wrong kind for its pool.
            ValueError: The type is empty, or its version already has a handler; the version or timeout is not positive,
                or the pool is unknown.
        """
        if not isinstance(type, str) or not type:  # type: ignore[redundant-expr]  # @task without parentheses
            raise ValueError('@task needs the task type, for example @task("image.resize").')

        surrounding = surroundings(idempotent=idempotent, results=results, breaker=breaker, rate=rate, around=around)

        def register(function: Function) -> Function:
            handler = _handler(type, version, function, surrounding, is_batch=batch is not None)
            _check_pool(pool, handler)
            timeout_seconds = _checked_timeout(timeout, handler.location)
            handler = replace(handler, timeout=timeout_seconds, retry=retry, in_child=pool == "process")
            handler = handler if batch is None else _batched(handler, batch)
            if (other := self._handlers.get((type, version))) is not None:
                raise ValueError(
                    f"Task type {type!r} has two handlers: {other.location} and {handler.location}. "
                    "Rename or remove one, or give it another version."
                )
            self._handlers[type, version] = handler
            return function

        return register

    def lifespan(self, function: Lifespan) -> Lifespan:
        """Let the decorated `async def`, which has one `yield`, surround the life of the process.

        What it yields is `context.state`. The worker consumes after that; it goes on after the last task.

        Raises:
            TypeError: The function is no `async def` with a `yield`.
            ValueError: There is a lifespan already.
        """
        is_generator: bool = inspect.isasyncgenfunction(function)
        if not is_generator:
            raise TypeError(f"@lifespan: {_location(function)} must be an `async def` with one `yield`.")
        if self._lifespans:
            raise ValueError(
                f"There are two lifespans: {_location(self._lifespans[0])} and {_location(function)}. "
                "Let one of them enter the other."
            )
        self._lifespans.append(function)
        return function

    @property
    def lifespan_function(self) -> LifespanFunction | None:
        """The lifespan of the application, if any."""
        return self._lifespans[0] if self._lifespans else None

    def get(self, type: str, version: int = 1) -> Handler | None:  # noqa: A002 - named as the AMQP property it matches
        """Return the handler of this type and version, if any."""
        return self._handlers.get((type, version))

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())


def _handler(
    type: str,  # noqa: A002 - named as the AMQP property it matches
    version: int,
    function: Callable[..., Any],
    around: "tuple[Middleware, ...]",
    *,
    is_batch: bool,
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
    return Handler(
        type,
        _checked_version(version, location),
        function,
        location,
        wants_context=positional > 1,
        is_coroutine=is_coroutine,
        around=around,
        validate=validator_of(function, location, is_batch=is_batch),
    )


def _checked_version(version: object, location: str) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= LATEST_VERSION:
        raise ValueError(f"{location}: version={version!r} must be a whole number from 1 to {LATEST_VERSION}.")
    return version


def _batched(handler: Handler, batch: "Batch") -> Handler:
    from .batches.collector import Collector  # which knows the classes of this module

    if handler.in_child:
        raise ValueError(f"{handler.location}: batch needs pool='thread' or 'async': a child runs one task at a time.")
    collector = Collector(
        handler.function, batch, wants_context=handler.wants_context, is_coroutine=handler.is_coroutine
    )
    return replace(handler, function=collector, wants_context=True, is_coroutine=True, collector=collector)


def _check_pool(pool: object, handler: Handler) -> None:
    if pool not in {None, *get_args(Pool)}:
        raise ValueError(f"{handler.location}: pool={pool!r} must be one of {', '.join(map(repr, get_args(Pool)))}.")
    if pool is not None and (pool == "async") is not handler.is_coroutine:
        needed = "async def" if pool == "async" else "def"
        raise TypeError(f"{handler.location}: pool={pool!r} needs a `{needed}` function.")


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
lifespan = registry.lifespan
