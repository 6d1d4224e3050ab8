"""What is read from a message, and the ways to let go of it."""

import asyncio

import pytest
from aiormq.exceptions import ChannelInvalidStateError

from tests.unit.worker.messages import Message, message_of


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        (None, b"[1]", [1]),
        ("text/plain", b"[1]", b"[1]"),
    ],
)
def test_the_content_type_decides_what_the_payload_is(content_type: str | None, body: bytes, payload: object) -> None:
    assert Message.delivered(content_type=content_type, body=body).payload() == payload


def test_the_routing_key_is_the_type_only_when_there_is_none() -> None:
    assert Message.delivered(None).type == "by.key"
    assert Message.delivered("t").type == "t"


def test_the_attempt_is_one_more_than_the_failures_the_broker_counted() -> None:
    delivery = Message.delivered()
    assert delivery.attempt is None
    message_of(delivery).headers["x-delivery-count"] = 2
    assert delivery.attempt == 3


async def test_a_message_that_was_not_worked_on_goes_back_without_counting_as_a_failure() -> None:
    delivery = Message.delivered()
    assert await delivery.give_back()
    assert message_of(delivery).settled == ["nack requeue=True"]


@pytest.mark.parametrize(
    "fault", [ChannelInvalidStateError("closed"), ConnectionResetError(), asyncio.CancelledError(), RuntimeError()]
)
async def test_a_dead_channel_is_an_answer_and_not_an_exception(fault: BaseException) -> None:
    delivery = Message.delivered()
    message_of(delivery).fault = fault
    assert not await delivery.acknowledge()
    assert not await delivery.dead_letter()
    assert not await delivery.give_back()


@pytest.mark.looptime
async def test_a_channel_that_takes_nothing_is_given_up() -> None:
    delivery = Message.delivered()
    message_of(delivery).fault = 3600.0
    assert not await delivery.acknowledge()
    assert asyncio.get_running_loop().time() == 10
