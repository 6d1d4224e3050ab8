"""The circuit breaker of one dependency."""

import random
import re
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

import structlog

from taskqueue_drain.bounds import DEPENDENCY_CHARACTERS
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue

from .circuit import Circuit, State
from .registry import Breakers, breakers

LONGEST_OPEN_SECONDS: Final = 3600
MOST_FAILURES: Final = 1000
_NAME: Final = re.compile(f"[A-Za-z0-9._-]{{1,{DEPENDENCY_CHARACTERS}}}")
_log = structlog.get_logger("breaker")

Errors = tuple[type[BaseException], ...]


class BreakerOpenError(Requeue):
    """The breaker is open. A task that does not handle this returns to its queue, and uses no attempt."""


class Breaker:
    """Stops calls to a dependency that fails, and lets one through from time to time until that one succeeds.

    As the `breaker` of a task it surrounds the handler; `with` and `async with` surround a part of it. It may be used
    in all threads of a process, each of which has breakers of its own.
    """

    def __init__(  # noqa: PLR0913 - all but the name by name
        self,
        name: str,
        *,
        failures: int = 5,
        within: float = 60,
        open_seconds: float = 30,
        errors: Errors = (ConnectionError, TimeoutError),
        registry: Breakers = breakers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a closed breaker.

        Args:
            name: The name of the dependency, in reports, metrics and log lines.
            failures: After so many failures in a row it opens.
            within: So many seconds at most may lie between the first and the last of them.
            open_seconds: How long it refuses each call; then it lets one through, again after as many seconds.
            errors: The exceptions that say that the dependency is away. Any other one says nothing about it.
            registry: Where the worker finds it.
            clock: Seconds of a monotonic clock.

        Raises:
            ValueError: A value is out of range, or there is a breaker of this name.
        """
        _check(name, failures, within, open_seconds, errors)
        self.name = name
        self._errors = errors
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._circuit = Circuit(failures=failures, within=within, open_seconds=open_seconds)
        self._registry = registry
        registry.add(self)

    def get_state(self) -> State:
        """Return the present state."""
        return self._circuit.state(self._clock())

    @property
    def is_unavailable(self) -> bool:
        """Whether the dependency is known to be away."""
        return self._circuit.is_unavailable(self._clock())

    @property
    def refused_seconds(self) -> float:
        """For how long it refuses each call, unless a trial succeeds before."""
        return self._circuit.refused_seconds(self._clock())

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the handler of a task, or give its message back."""
        del call
        with self:
            return await proceed()

    def __enter__(self) -> Self:
        """Begin a call.

        Raises:
            BreakerOpenError: The breaker is open.
        """
        calls = _calls.get()
        permit = next((permit for breaker, permit in calls if breaker is self), None)
        if permit is None:
            permit = self._admit()
        _calls.set((*calls, (self, permit)))
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count the end of a call."""
        *calls, (_, permit) = _calls.get()
        _calls.set(tuple(calls))
        if error_type is None:
            self._succeed(permit)
        elif issubclass(error_type, self._errors):
            self._fail(permit, error_type)
        else:
            with self._lock:
                self._circuit.end_without_result(permit, self._clock())

    async def __aenter__(self) -> Self:
        """See `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `__exit__`."""
        self.__exit__(error_type, error, trace)

    def _admit(self) -> int:
        with self._lock:
            now = self._clock()
            is_closed, permit = self._circuit.state(now) is State.CLOSED, self._circuit.admit(now)
            seconds = self._circuit.refused_seconds(now)
        if permit is None:
            # What is given back at once must not return at once.
            delay = seconds + self._open_seconds * random.random()  # noqa: S311 - spreads load
            raise BreakerOpenError(f"The breaker {self.name!r} is open.", delay=delay)
        if not is_closed:
            _log.info("breaker half open", breaker=self.name)
        return permit

    def _succeed(self, permit: int) -> None:
        with self._lock:
            has_closed = self._circuit.succeed(permit)
        if has_closed:
            _log.info("breaker closed", breaker=self.name)
            self._registry.on_change()

    def _fail(self, permit: int, error_type: type[BaseException]) -> None:
        with self._lock:
            has_opened = self._circuit.fail(permit, self._clock())
        if has_opened:
            _log.warning(
                "breaker open", breaker=self.name, error=error_type.__qualname__, open_seconds=self._open_seconds
            )
            self._registry.on_change()


_calls: ContextVar[tuple[tuple[Breaker, int], ...]] = ContextVar("breaker_calls", default=())
"""The calls that surround the present one, so that one breaker inside itself is one call."""


def _check(name: object, failures: object, within: object, open_seconds: object, errors: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"Breaker({name!r}): the name must have 1 to {DEPENDENCY_CHARACTERS} letters, digits, '.', '_' and '-'."
        )
    if type(failures) is not int or not 1 <= failures <= MOST_FAILURES:
        raise ValueError(f"Breaker({name!r}): failures={failures!r} must be an integer from 1 to {MOST_FAILURES}.")
    for field, value in (("within", within), ("open_seconds", open_seconds)):
        if not isinstance(value, int | float) or not 1 <= value <= LONGEST_OPEN_SECONDS:
            raise ValueError(f"Breaker({name!r}): {field}={value!r} must be from 1 to {LONGEST_OPEN_SECONDS} seconds.")
    if not isinstance(errors, tuple) or not errors or not all(map(_is_error, errors)):
        raise ValueError(f"Breaker({name!r}): errors={errors!r} must be a tuple of exception classes.")


def _is_error(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseException)
