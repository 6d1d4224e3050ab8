"""Content headers of any bytes are read, or kept as they are."""

import struct

import pamqp.encode
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_drain.aio_pika.unreadable_properties import accept_any_properties
from taskqueue_drain.unreadable_header import UNREADABLE_HEADER


@given(st.binary(max_size=200))
def test_any_properties_are_read_or_kept(properties: bytes) -> None:
    accept_any_properties()
    header = ContentHeader()
    header.unmarshal(struct.pack(">HHQ", 60, 0, 5) + properties)
    assert header.body_size == 5
    kept = (header.properties.headers or {}).get(UNREADABLE_HEADER)
    assert kept in (None, properties)
    assert kept is None or pamqp.encode.field_table({UNREADABLE_HEADER: kept})


def test_an_unknown_delivery_mode_is_kept() -> None:
    """The library reads it, and fails later, where the message becomes an object."""
    accept_any_properties()
    header, properties = ContentHeader(), b"\x10\x00\x07"
    header.unmarshal(struct.pack(">HHQ", 60, 0, 5) + properties)
    assert header.properties.headers == {UNREADABLE_HEADER: properties}


def test_readable_properties_are_unchanged() -> None:
    accept_any_properties()
    sent = ContentHeader(body_size=7, properties=Basic.Properties(message_type="t", headers={"a": {"b": [1, "c"]}}))
    header = ContentHeader()
    header.unmarshal(sent.marshal())
    assert (header.properties.message_type, header.properties.headers) == ("t", {"a": {"b": [1, "c"]}})
