"""What a delivery holds, and how it is settled."""

import asyncio

import pytest
from aiormq.exceptions import ChannelInvalidStateError

from tests.unit.worker.messages import channel_of, delivery


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        (None, b"[1]", [1]),
        ("text/plain", b"[1]", b"[1]"),
    ],
)
def test_the_content_type_determines_the_payload(content_type: str | None, body: bytes, payload: object) -> None:
    assert delivery(content_type=content_type, body=body).payload() == payload


def test_the_routing_key_is_the_type_only_of_a_message_without_type() -> None:
    assert delivery(None).type == "by.key"
    assert delivery("t").type == "t"


async def test_a_requeued_message_does_not_count_as_a_failed_attempt() -> None:
    delivered = delivery()
    assert await delivered.requeue()
    assert channel_of(delivered).settled == ["nack requeue=True"]


@pytest.mark.parametrize(
    "fault", [ChannelInvalidStateError("closed"), ConnectionResetError(), asyncio.CancelledError(), RuntimeError()]
)
async def test_a_settlement_on_a_lost_channel_returns_false_and_raises_nothing(fault: BaseException) -> None:
    delivered = delivery()
    channel_of(delivered).fault = fault
    assert not await delivered.acknowledge()
    assert not await delivered.requeue()


@pytest.mark.looptime
async def test_a_settlement_that_the_channel_does_not_accept_times_out() -> None:
    delivered = delivery()
    channel_of(delivered).fault = 3600.0
    assert not await delivered.requeue()
    assert asyncio.get_running_loop().time() == 10
