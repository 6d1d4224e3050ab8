"""What is known of a received dead letter beside what the AMQP library tells."""

import pytest
from aiormq.abc import DeliveredMessage
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from taskqueue_operator.dead_letters.letter import UNREADABLE
from taskqueue_operator.rabbitmq.bounded_connection import ReadLimits
from taskqueue_operator.rabbitmq.dead_letter_arrivals import Arrivals, Delivery
from tests.unit.rabbitmq.test_bounded_connection import DELIVER, message, nested, read

pytestmark = pytest.mark.looptime

LIMITS = ReadLimits(properties=10_000, body=1000)
PROPERTIES = commands.Basic.Properties(
    message_id="id-1", message_type="resize", headers={"x-failure-reason": "failed", "x-original-queue": "jobs"}
)


async def delivered(data: bytes) -> tuple[Delivery, Arrivals]:
    """Receive one message as the connection does."""
    arrivals = Arrivals()
    deliver, header, *bodies = await read(data, LIMITS, arrivals)
    body = b"".join(part.value for part in bodies)
    library = DeliveredMessage(delivery=deliver, header=header, body=body, channel=None)  # type: ignore[arg-type]
    return arrivals.delivery(library), arrivals


async def test_a_message_within_the_limits_is_whole() -> None:
    delivery, _ = await delivered(message(1000, PROPERTIES))
    letter = delivery.letter
    assert (letter.id, letter.type, letter.reason, letter.queue) == ("id-1", "resize", "failed", "jobs")
    assert (letter.body_bytes, letter.is_whole, len(delivery.body)) == (1000, True, 1000)


async def test_of_a_longer_body_the_size_is_known_and_that_it_is_not_whole() -> None:
    delivery, _ = await delivered(message(5000, PROPERTIES))
    letter = delivery.letter
    assert (letter.reason, letter.body_bytes, letter.is_whole, len(delivery.body)) == ("failed", 5000, False, 1000)


@pytest.mark.parametrize(
    "properties",
    [nested(2000), frame.marshal(ContentHeader(0, 0, commands.Basic.Properties(headers={"x": "y" * 20_000})), 1)],
)
async def test_properties_that_cannot_be_decoded_or_are_too_long_make_a_message_unreadable(properties: bytes) -> None:
    delivery, _ = await delivered(DELIVER + properties)
    assert (delivery.letter.reason, delivery.letter.is_whole, delivery.letter.id) == (UNREADABLE, False, "")


async def test_a_copy_that_comes_back_is_noticed_even_without_a_message_id() -> None:
    arrivals = Arrivals()
    returned = frame.marshal(commands.Basic.Return(312, "NO_ROUTE", "", "jobs"), 1)
    header = frame.marshal(ContentHeader(0, 1, commands.Basic.Properties()), 1)
    await read(returned + header + frame.marshal(ContentBody(b"x"), 1), LIMITS, arrivals)
    assert arrivals.returned


async def test_a_method_of_another_channel_between_a_method_and_its_content_changes_nothing() -> None:
    arrivals = Arrivals()
    blocked = frame.marshal(commands.Connection.Blocked("low on memory"), 0)
    header = frame.marshal(ContentHeader(0, 5000, PROPERTIES), 1)
    deliver, _, decoded, *_ = await read(
        DELIVER + blocked + header + frame.marshal(ContentBody(b"x" * 5000), 1), LIMITS, arrivals
    )
    library = DeliveredMessage(delivery=deliver, header=decoded, body=b"x" * 1000, channel=None)  # type: ignore[arg-type]
    assert arrivals.delivery(library).letter.body_bytes == 5000
