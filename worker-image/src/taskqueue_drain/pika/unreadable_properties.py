"""Lets a message arrive whose properties pika cannot read.

A timestamp beyond the calendar or a table of thousands of levels makes pika close the connection. The broker then
delivers the message again, and all running tasks with it, to this worker or the next one, without end. So such a
message arrives without properties, but with one header that holds their bytes.
"""

from typing import Any

from pika import BasicProperties

from taskqueue_drain.unreadable_header import UNREADABLE_HEADER

_decode = BasicProperties.decode


def accept_any_properties() -> None:
    """Let all connections of this process receive messages whose properties pika cannot read."""
    BasicProperties.decode = _decode_with_care  # pika has no hook for this


def _decode_with_care(properties: Any, encoded: bytes, offset: int = 0) -> Any:  # noqa: ANN401 - pika has no types
    try:
        return _decode(properties, encoded, offset)
    except Exception:  # noqa: BLE001 - struct.error, OverflowError, RecursionError, InvalidFieldTypeException and more
        vars(properties).update(vars(BasicProperties(headers={UNREADABLE_HEADER: encoded[offset:]})))
        return properties
