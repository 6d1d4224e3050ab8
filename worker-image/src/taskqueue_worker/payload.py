"""The JSON of task payloads. Every number is exact, or the payload is refused with the path of the number.

orjson does the work. But it turns integers above 64 bits into inexact floats, and writes NaN as null. So a body that
may contain such an integer, which is rare, is decoded once more by the standard library.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

import orjson

from .bounds import INTEGER_DIGITS, PATH_CHARACTERS, PAYLOAD_BYTES

JSON: Final = "application/json"
ROOT: Final = "payload"

_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19
_REFUSED_NUMBER: Final = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")


class PayloadError(ValueError):
    """A payload is not valid, or not exact. The text names the field and the way out."""


class InvalidPayloadError(PayloadError):
    """A payload is not of the type that its handler takes."""


def decode(body: bytes) -> object:
    """Decode a JSON body.

    Raises:
        PayloadError: The body is too long, nested too deep, not JSON, or contains a number that cannot be exact.
    """
    check_length(body)
    try:
        payload = orjson.loads(body)
    except ValueError as error:
        if _REFUSED_NUMBER.search(body):
            return _decode_exactly(body)
        raise PayloadError(f"The body is not valid JSON: {error}.") from None
    # The search for one constant is much faster than a regular expression.
    return _decode_exactly(body) if _LONG_NUMBER in body.translate(_ZEROS) else payload


def encode(payload: object) -> bytes:
    """Encode a payload as JSON.

    Raises:
        PayloadError: It contains NaN or an infinite number, which JSON does not have.
        TypeError: It contains an object that cannot be encoded.
    """
    try:
        body = orjson.dumps(payload)
    except TypeError as error:
        if "64-bit" not in str(error):
            raise
        _refuse(_find(payload, _is_not_finite), "is {}, which JSON does not have. Send null, or a text.")
        return json.dumps(payload, default=_by_orjson, ensure_ascii=False, separators=(",", ":")).encode()
    if b"null" in body:  # None, or what orjson writes for a number that JSON does not have
        _refuse(_find(payload, _is_not_finite), "is {}, which JSON does not have. Send null, or a text.")
    return body


class _Inexact:
    """Stands in a decoded payload for a number that cannot be exact."""

    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"  # noqa: PLR2004 - readable


def _decode_exactly(body: bytes) -> object:
    inexact: list[_Inexact] = []

    def refused(text: str) -> _Inexact:
        inexact.append(_Inexact(text))
        return inexact[-1]

    def parse_int(text: str) -> object:
        return int(text) if len(text) <= INTEGER_DIGITS else refused(text)

    def parse_float(text: str) -> object:
        number = float(text)
        return number if math.isfinite(number) else refused(text)

    try:
        payload = json.loads(body.decode(), parse_int=parse_int, parse_float=parse_float, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"The body is not valid JSON: {error}.") from None
    if inexact:
        _refuse(_find(payload, lambda value: value is inexact[0]), "is {}, which is no exact number. Send a text.")
    return payload


def check_length(body: bytes) -> None:
    """Refuse a JSON body that no worker decodes.

    Raises:
        PayloadError: It is too long.
    """
    if len(body) > PAYLOAD_BYTES:
        raise PayloadError(
            f"The body has {len(body)} bytes, and a JSON body may have {PAYLOAD_BYTES}. Store the data elsewhere, and "
            "send its address."
        )


def _is_not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _refuse(found: tuple[str, object] | None, statement: str) -> None:
    if found is not None:
        path, value = found
        raise PayloadError(f"{path} {statement.format(value.text if isinstance(value, _Inexact) else value)}")


def _find(payload: object, matches: Callable[[object], bool]) -> tuple[str, object] | None:
    """Return the path and the value of the first matching value."""
    waiting: list[tuple[str, object]] = [(ROOT, payload)]
    while waiting:
        path, value = waiting.pop()
        if matches(value):
            return path, value
        waiting.extend((f"{path}{step}"[:PATH_CHARACTERS], inner) for step, inner in _children(value))
    return None


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        return ((f".{key}", inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", inner) for index, inner in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return ((f".{field.name}", getattr(value, field.name)) for field in fields(value))
    return iter(())


def _by_orjson(value: object) -> Any:  # noqa: ANN401 - every JSON value
    return orjson.loads(orjson.dumps(value))
