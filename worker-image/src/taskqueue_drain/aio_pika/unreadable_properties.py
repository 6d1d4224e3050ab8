"""Lets a message arrive whose properties the AMQP library cannot read.

A header name or a type that is not UTF-8, a timestamp beyond the calendar or a table of thousands of levels makes the
library close the connection. The broker then delivers the message again, to this worker or the next one, without end.
So such a message arrives without properties, but with one header that holds their bytes.
"""

from typing import Final

from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_drain.unreadable_header import UNREADABLE_HEADER

_FIXED_BYTES: Final = 12
"""Bytes of a content header before the properties: class, weight, and size of the body."""
_DELIVERY_MODES: Final = (None, 1, 2)
_unmarshal = ContentHeader.unmarshal


def accept_any_properties() -> None:
    """Let all connections of this process receive messages whose properties the library cannot read."""
    ContentHeader.unmarshal = _unmarshal_with_care  # type: ignore[method-assign, assignment]  # the library has no hook for this


def _unmarshal_with_care(header: ContentHeader, data: bytes) -> None:
    try:
        _unmarshal(header, data)
        is_readable = header.properties.delivery_mode in _DELIVERY_MODES
    except Exception:  # noqa: BLE001 - ValueError, struct.error, OverflowError, RecursionError and more
        is_readable = False
    if not is_readable:
        header.properties = Basic.Properties(headers={UNREADABLE_HEADER: bytearray(data[_FIXED_BYTES:])})
