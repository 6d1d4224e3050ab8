"""What payload a handler takes, by the annotation of its first parameter."""

import functools
import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin, get_type_hints

from taskqueue_worker.extras import MissingExtraError, importing

Validate = Callable[[object], object]
"""Returns the payload as the handler takes it.

Raises:
    InvalidPayloadError: It is not valid.
"""

_EVERY_PAYLOAD: Final = (inspect.Parameter.empty, Any, object, dict, bytes)

_BATCHES: Final = (list, Sequence)


def validator_of(function: Callable[..., Any], location: str, *, is_batch: bool = False) -> Validate | None:
    """Return what validates each payload of a handler, or None if it takes every payload.

    Raises:
        TypeError: The annotation cannot be resolved or validated, or is none of a batch; or pydantic is not installed.
    """
    annotation = _resolved(function, next(iter(inspect.signature(function).parameters.values())).annotation, location)
    if is_batch:
        annotation = _item_of(annotation, location)
    if annotation in _EVERY_PAYLOAD or (get_origin(annotation) is dict and get_args(annotation) == (str, Any)):
        return None
    try:
        with importing("pydantic", extra="pydantic"):
            from .pydantic_payload import validator
    except MissingExtraError as error:
        raise TypeError(f"{location}: payloads are validated as {_name(annotation)} by pydantic. {error}") from None
    return validator(annotation, _name(annotation), location)


def _resolved(function: Callable[..., Any], annotation: object, location: str) -> object:
    """Return an annotation without texts in it, as `from __future__ import annotations` leaves them."""
    if annotation is inspect.Parameter.empty:
        return annotation
    holder = SimpleNamespace(__annotations__={"payload": annotation})
    try:
        return get_type_hints(holder, globalns=_globals_of(function), include_extras=True)["payload"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise TypeError(
            f"{location}: the annotation {annotation!r} of the payload cannot be resolved ({error}). Define or import "
            "the name in the module, outside of functions and of `if TYPE_CHECKING`."
        ) from error


def _item_of(annotation: object, location: str) -> object:
    """Return the type of one payload of a batch."""
    if annotation in {inspect.Parameter.empty, Any, list}:
        return Any
    items = get_args(annotation) if get_origin(annotation) in _BATCHES else ()
    if len(items) != 1:
        raise TypeError(
            f"{location}: the handler of a batch takes a list of payloads. Annotate it with list[...], in place of "
            f"{_name(annotation)}."
        )
    return items[0]


def _globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    code = inner if hasattr(inner, "__globals__") else type(inner).__call__
    found = getattr(code, "__globals__", {})
    return found if isinstance(found, dict) else {}


def _name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else repr(annotation)
