"""What a report must have."""

import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from taskqueue_drain.bounds import (
    COMMAND_INTEGER,
    COMMAND_TEXT_CHARACTERS,
    DEPENDENCY_CHARACTERS,
    REPORT_DEPENDENCIES,
)
from taskqueue_drain.protocol import VERSION, Result, State

REPORT_BYTES: Final = 16 * 1024
SHOWN_CHARACTERS: Final = 100

_Check = Callable[[Any], bool]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < COMMAND_INTEGER


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and value >= 0  # type: ignore[operator]  # it is a number


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= COMMAND_TEXT_CHARACTERS


def _is_dependency(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(f"[A-Za-z0-9._-]{{1,{DEPENDENCY_CHARACTERS}}}", value))


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _has(**fields: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(name in value and fields[name](value[name]) for name in fields)


_ANSWER: Final = _has(id=_is_text, result=lambda value: value in tuple(Result), reason=_or_none(_is_text))
FIELDS: Final[Mapping[str, _Check]] = {
    "version": lambda value: value == VERSION,
    "incarnation": lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{32}", value)),
    "number": lambda value: _is_count(value) and value > 0,
    "state": lambda value: value in tuple(State),
    "in_flight": _is_count,
    "prefetched": _is_count,
    "idle_seconds": _is_number,
    "oldest_seconds": _or_none(_is_number),
    "completed": _is_count,
    "failed": _is_count,
    "busy_seconds": _is_number,
    "drain": _or_none(_has(installation=_is_text, epoch=_is_count, seq=_is_count)),
    "answer": _or_none(_ANSWER),
}

OPTIONAL_FIELDS: Final[Mapping[str, _Check]] = {
    "dead_letters_blocked": _is_count,
    "unavailable_dependencies": lambda value: (
        isinstance(value, list) and len(value) <= REPORT_DEPENDENCIES and all(map(_is_dependency, value))
    ),
}


def problems(report: Mapping[str, Any], identity: Mapping[str, object]) -> Iterator[str]:
    """Say what is wrong with a report.

    Args:
        report: The report.
        identity: The fields whose values follow from the environment of the worker.
    """
    for name, expected in identity.items():
        if report.get(name) != expected:
            yield f"{name} must be {expected!r} and is {_value(report, name)}"
    for name, holds in FIELDS.items():
        if name not in report or not holds(report[name]):
            yield f"{name} is {_value(report, name)}"
    for name, holds in OPTIONAL_FIELDS.items():
        if name in report and not holds(report[name]):
            yield f"{name} is {_value(report, name)}"


def _value(report: Mapping[str, Any], name: str) -> str:
    return shown(report[name]) if name in report else "missing"


def shown(value: object) -> str:
    """Show a value of a report: briefly, and however deep it is nested."""
    return reprlib.repr(value)[:SHOWN_CHARACTERS]
