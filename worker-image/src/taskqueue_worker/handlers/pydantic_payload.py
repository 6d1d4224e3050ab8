"""Payloads that pydantic validates."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaValidator

from taskqueue_worker.bounds import PATH_CHARACTERS
from taskqueue_worker.payload import ROOT, InvalidPayloadError

from .payload_type import Validate

_NAMED_ERRORS: Final = 3
"""Errors of a payload that its dead letter names."""
_DESCRIBED_ERRORS: Final = 1000
"""Of a payload with more errors, which only unknown fields cause, none is described: that would take seconds."""
_WITHOUT_VALUE: Final = {"union_tag_invalid": "The tag of the union is none of the expected ones"}
"""By type of error: what is said of errors whose text has the value."""
_COLLECTIONS: Final = ("list", "tuple", "set", "frozenset", "dict", "deque")


def validator(annotation: Any, name: str, location: str) -> Validate:  # noqa: ANN401 - every annotation
    """Return what validates payloads as a type.

    Raises:
        TypeError: Pydantic cannot validate the type.
    """
    try:
        schema = TypeAdapter[Any](annotation).core_schema
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(f"{location}: payloads cannot be validated as {name}. {reason}") from error

    # Not the validators that models have already, in which collections go on after an error.
    validated = SchemaValidator(_with_fail_fast(schema, {}), None, False)  # the flag has no public name

    def validate(payload: object) -> object:
        try:
            return validated.validate_python(payload)
        except ValidationError as error:
            text = _text(error)
        raise InvalidPayloadError(text)

    return validate


def _with_fail_fast(schema: Any, copies: dict[int, Any]) -> Any:  # noqa: ANN401 - every part of a schema
    """Copy a schema so that a collection ends at its first error: that of each item of a large one takes gigabytes."""
    if isinstance(schema, list):
        return [_with_fail_fast(part, copies) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if id(schema) not in copies:
        copies[id(schema)] = copy = dict(schema)
        copy.update({key: _with_fail_fast(part, copies) for key, part in schema.items()})
        if copy.get("type") in _COLLECTIONS:
            copy["fail_fast"] = True
    return copies[id(schema)]


def _text(error: ValidationError) -> str:
    """Return the paths of the first errors and what is wrong there, without the values."""
    if error.error_count() > _DESCRIBED_ERRORS:
        return f"{ROOT}: {error.error_count()} fields are not valid or not known."
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    named = " ".join(
        f"{_path(item['loc'])}: {_WITHOUT_VALUE.get(item['type'], item['msg'])}." for item in errors[:_NAMED_ERRORS]
    )
    return named if len(errors) <= _NAMED_ERRORS else f"{named} And {len(errors) - _NAMED_ERRORS} more."


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join((ROOT, *steps))[:PATH_CHARACTERS]
