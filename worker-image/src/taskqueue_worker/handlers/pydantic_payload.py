"""Payloads that pydantic validates."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from taskqueue_worker.bounds import PATH_CHARACTERS
from taskqueue_worker.payload import ROOT, InvalidPayloadError

from .payload_type import Validate

_NAMED_ERRORS: Final = 3
"""Errors of a payload that its dead letter names."""


def validator(annotation: Any, name: str, location: str) -> Validate:  # noqa: ANN401 - every annotation
    """Return what validates payloads as a type.

    Raises:
        TypeError: Pydantic cannot validate the type.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(f"{location}: payloads cannot be validated as {name}. {reason}") from error

    def validate(payload: object) -> object:
        try:
            return adapter.validate_python(payload)
        except ValidationError as error:
            text = _text(error)
        raise InvalidPayloadError(text)

    return validate


def _text(error: ValidationError) -> str:
    """Return the paths of the first errors and what is wrong there, without the values."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    named = " ".join(f"{_path(item['loc'])}: {item['msg']}." for item in errors[:_NAMED_ERRORS])
    return named if len(errors) <= _NAMED_ERRORS else f"{named} And {len(errors) - _NAMED_ERRORS} more."


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join((ROOT, *steps))[:PATH_CHARACTERS]
