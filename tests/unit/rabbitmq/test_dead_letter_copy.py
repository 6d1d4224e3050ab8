"""The properties of a copy are those of the dead letter, and numbers stay exact."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from pamqp import commands, constants, encode, frame
from pamqp.header import ContentHeader

from taskqueue_operator.rabbitmq import amqp_library
from taskqueue_operator.rabbitmq.dead_letter_copy import copied_properties
from taskqueue_operator.resource.bounds import DEAD_LETTER_COPY_PROPERTIES_BYTES
from tests.unit.dead_letters.values import HEADERS


@pytest.fixture(scope="module", autouse=True)
def corrected() -> Iterator[None]:
    """Correct the library for this module only."""
    before, names = encode.encode_table_value, dict(constants.DOMAIN_REGEX)
    amqp_library.correct()
    yield
    encode.encode_table_value = before
    constants.DOMAIN_REGEX.update(names)


def sent(properties: commands.Basic.Properties) -> commands.Basic.Properties:
    """Return properties as their receiver decodes them."""
    _, _, header = frame.unmarshal(frame.marshal(ContentHeader(0, 0, properties), 1))
    assert isinstance(header, ContentHeader)
    return header.properties


def test_a_copy_has_the_properties_of_its_original() -> None:
    original = commands.Basic.Properties(
        content_type="application/json",
        content_encoding="gzip",
        delivery_mode=1,
        priority=7,
        correlation_id="c",
        reply_to="answers",
        expiration="60000",
        message_id="id-1",
        timestamp=datetime(2026, 11, 28, 12, tzinfo=UTC),
        message_type="resize",
        user_id="publisher",
        app_id="shop",
    )
    headers = {
        "tenant": "acme",
        "ratio": 0.1,
        "huge": 1e300,
        "exact": Decimal("1.5"),
        "bytes": b"\xff",
        "list": [b"\xff", 0.1],
    }
    copy = copied_properties(original, headers)
    assert copy is not None
    received = sent(copy)
    same = commands.Basic.Properties.flags.keys() - {"headers", "delivery_mode", "expiration", "user_id"}
    assert [getattr(received, name) for name in same] == [getattr(original, name) for name in same]
    assert (received.delivery_mode, received.expiration, received.user_id) == (2, None, None)
    assert received.headers == headers | {"bytes": bytearray(b"\xff"), "list": [bytearray(b"\xff"), 0.1]}


@pytest.mark.parametrize(
    ("reply_to", "copied"),
    [("amq.rabbitmq.reply-to", None), ("amq.rabbitmq.reply-to.g1.x", "amq.rabbitmq.reply-to.g1.x")],
)
def test_a_reply_to_the_channel_of_the_publisher_is_left_out(reply_to: str, copied: str | None) -> None:
    copy = copied_properties(commands.Basic.Properties(reply_to=reply_to), {})
    assert copy is not None
    assert copy.reply_to == copied


@pytest.mark.parametrize(
    "headers", [{"k" * 300: 1}, {"n": 2**70}, {"large": "x" * DEAD_LETTER_COPY_PROPERTIES_BYTES}, {"o": object()}]
)
def test_headers_that_cannot_be_written_make_no_copy(headers: dict[str, object]) -> None:
    assert copied_properties(commands.Basic.Properties(), headers) is None


@given(HEADERS)
def test_whatever_the_headers_are_there_is_a_copy_or_none(headers: dict[str, object]) -> None:
    copy = copied_properties(commands.Basic.Properties(message_id="id-1"), headers)
    assert copy is None or (sent(copy).headers or {}) == amqp_library.encodable(headers)


def test_each_name_that_the_broker_accepts_is_accepted() -> None:
    assert commands.Basic.Consume(queue="tâches*%").queue == "tâches*%"
