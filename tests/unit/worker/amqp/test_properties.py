"""Content headers are decoded exactly as the AMQP library decodes them."""

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_drain.aio_pika.unreadable_properties import accept_any_properties
from taskqueue_drain.unreadable_header import UNREADABLE_HEADER
from taskqueue_worker.amqp.properties import content_header

SHORT = st.text(max_size=40)
PROPERTIES = {
    "content_type": SHORT,
    "content_encoding": SHORT,
    "headers": st.dictionaries(SHORT, st.one_of(st.integers(-(2**31), 2**31), SHORT, st.booleans())),
    "delivery_mode": st.sampled_from([1, 2]),
    "priority": st.integers(0, 255),
    "correlation_id": SHORT,
    "expiration": SHORT,
    "message_id": SHORT,
    "timestamp": st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2100, 1, 1)),  # noqa: DTZ001 - hypothesis adds the time zone
    "message_type": SHORT,
    "app_id": SHORT,
}


@pytest.fixture(autouse=True, scope="module")
def _as_in_a_worker() -> None:
    accept_any_properties()


def _by_library(payload: bytes) -> ContentHeader:
    header = ContentHeader()
    header.unmarshal(payload)
    return header


def _assert_equal(payload: bytes) -> None:
    ours, theirs = content_header(payload), _by_library(payload)
    assert ours.properties == theirs.properties
    assert (ours.body_size, ours.weight) == (theirs.body_size, theirs.weight)


@given(st.fixed_dictionaries({}, optional=PROPERTIES), st.integers(0, 2**40))
def test_every_message_is_decoded_as_by_the_library(properties: dict[str, object], body_size: int) -> None:
    _assert_equal(ContentHeader(0, body_size, Basic.Properties(**properties)).marshal())  # type: ignore[arg-type]


@given(st.binary(min_size=12, max_size=60), st.integers(0, 0xFFFF))
@example(b"\xff" * 4, 0b10)
@example(b"\x05abc", 0x80)
def test_whatever_bytes_a_publisher_sends_are_decoded_as_by_the_library(rest: bytes, flags: int) -> None:
    _assert_equal(b"\x00\x3c\x00\x00" + bytes(8) + flags.to_bytes(2, "big") + rest)


def test_a_type_that_is_no_text_makes_the_properties_unreadable() -> None:
    payload = b"\x00\x3c\x00\x00" + bytes(8) + Basic.Properties.flags["message_type"].to_bytes(2, "big") + b"\x01\xff"
    assert content_header(payload).properties.headers == {UNREADABLE_HEADER: bytearray(payload[12:])}
