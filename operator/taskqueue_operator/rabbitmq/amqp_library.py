"""Corrections of the AMQP library, in the process that needs them: commands that copy messages of others."""

import re
from typing import Any, Final

from pamqp import common, constants, encode

_ANY_NAME: Final = re.compile(r".*", re.DOTALL)
_encode = encode.encode_table_value


def correct() -> None:
    """Accept each name that RabbitMQ accepts, and write numbers of headers without rounding them to 32 bits."""
    constants.DOMAIN_REGEX.update({"queue-name": _ANY_NAME, "exchange-name": _ANY_NAME})
    encode.encode_table_value = _encode_exactly


def _encode_exactly(value: common.FieldArray | common.FieldTable | common.FieldValue) -> bytes:
    return b"d" + encode.double(value) if isinstance(value, float) else _encode(value)


def encodable(value: Any) -> Any:  # noqa: ANN401  any value of a header
    """Return a decoded value of a header as the library encodes it: a text that is not UTF-8 becomes bytes."""
    if isinstance(value, bytes):
        return bytearray(value)
    if isinstance(value, dict):
        return {name: encodable(item) for name, item in value.items()}
    return [encodable(item) for item in value] if isinstance(value, list) else value
