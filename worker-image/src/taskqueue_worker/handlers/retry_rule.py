"""How the tasks of one type are tried again, where that differs from `spec.retry`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Self

from taskqueue_worker.bounds import LONGEST_DELAY_SECONDS, MOST_ATTEMPTS
from taskqueue_worker.outcomes import Retry

ErrorType = type[BaseException]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """What is None is as in `spec.retry`.

    Raises:
        ValueError, TypeError: A value is out of range, or no exception class.
    """

    attempts: int | None = None
    """Attempts of a task; 1: it is not tried again."""
    initial: float | None = None
    """Longest delay after the first attempt, in seconds; it doubles with each further attempt."""
    max: float | None = None
    """Longest delay after any attempt, in seconds."""
    on: "Mapping[ErrorType, RetryRule]" = field(default_factory=dict)
    """Rules for exceptions of these classes; what is None there is as here."""
    never: tuple[ErrorType, ...] = ()
    """Exceptions of these classes dead-letter the task at once."""

    def __post_init__(self) -> None:
        _check_range("attempts", self.attempts, 1, MOST_ATTEMPTS, int)
        _check_range("initial", self.initial, 0, LONGEST_DELAY_SECONDS)
        _check_range("max", self.max, 0, LONGEST_DELAY_SECONDS)
        for error in (*self.on, *self.never):
            _check_class(error)
        for error, rule in self.on.items():
            if rule.on or rule.never:
                raise TypeError(f"RetryRule: on[{error.__name__}] may have neither `on` nor `never`.")

    def of(self, error: ErrorType) -> Self:
        """Return the rule for an exception of this class. That of the most derived class applies."""
        for kind in () if issubclass(error, Retry) else error.__mro__:
            if kind in self.never:
                return replace(self, attempts=1)
            if (rule := self.on.get(kind)) is not None:
                stated = {name: getattr(rule, name) for name in ("attempts", "initial", "max")}
                return replace(self, **{name: value for name, value in stated.items() if value is not None})
        return self


def _check_class(error: object) -> None:
    if not isinstance(error, type) or not issubclass(error, BaseException):
        raise TypeError(f"RetryRule: {error!r} in `on` or `never` is no exception class.")


def _check_range(name: str, value: object, least: int, most: int, kind: type[int] | UnionType = int | float) -> None:
    if value is None:
        return
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"RetryRule: {name}={value!r} must be from {least} to {most}.")
