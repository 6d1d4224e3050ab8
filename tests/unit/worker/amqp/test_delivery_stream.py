"""Deliveries leave the stream of a broker, and nothing else does."""

from functools import partial
from typing import cast

import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.commands import Basic, Channel
from pamqp.heartbeat import Heartbeat

from taskqueue_worker.amqp.delivery_stream import DeliveryStream
from tests.unit.worker.amqp.frames import delivered

QOS_OK = frame.marshal(Basic.QosOk(), 1)


class Scene:
    def __init__(self) -> None:
        self.stream = DeliveryStream()
        self.received: list[DeliveredMessage] = []
        self.stream.deliver(1, cast("AbstractChannel", self), self.received.append)

    def bodies(self) -> list[bytes]:
        return [message.body for message in self.received]


def test_a_delivery_arrives_as_the_library_would_deliver_it() -> None:
    scene = Scene()
    assert scene.stream.feed(delivered(7, b"a long body")) == b""
    (message,) = scene.received
    assert dict(message.delivery) == dict(Basic.Deliver("consumer", 7, redelivered=True, exchange="x", routing_key="k"))
    assert message.header.properties.message_id == "7"
    assert message.body == b"a long body"
    assert message.channel is cast("AbstractChannel", scene)


def test_a_delivery_without_a_body_arrives() -> None:
    scene = Scene()
    scene.stream.feed(delivered(1, b""))
    assert scene.bodies() == [b""]


@given(st.data())
def test_the_pieces_in_which_frames_arrive_change_nothing(data: st.DataObject) -> None:
    others = [frame.marshal(Heartbeat(), 0), QOS_OK, frame.marshal(Basic.Cancel("consumer"), 1)]
    sent = data.draw(st.lists(st.one_of(st.sampled_from(others), st.binary(max_size=20)), max_size=8))
    stream = b"".join(one if one in others else delivered(1, one) for one in sent)
    scene, left = Scene(), b""
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        left += scene.stream.feed(stream[:size])
        stream = stream[size:]
    assert scene.bodies() == [one for one in sent if one not in others]
    assert left == b"".join(one for one in sent if one in others)


def test_a_delivery_on_another_channel_is_left_to_the_library() -> None:
    scene, foreign = Scene(), delivered(1, b"body", channel=2)
    assert scene.stream.feed(foreign) == foreign
    assert not scene.received


def test_deliveries_of_two_channels_that_arrive_mixed_are_put_together() -> None:
    scene, other = Scene(), list[DeliveredMessage]()
    scene.stream.deliver(2, cast("AbstractChannel", scene), other.append)
    first, second = delivered(1, b"first"), delivered(1, b"second", channel=2)
    cut = first.index(b"\xce") + 1
    scene.stream.feed(first[:cut] + second + first[cut:])
    assert scene.bodies() == [b"first"]
    assert [message.body for message in other] == [b"second"]


def test_a_closed_channel_whose_number_another_one_has_is_forgotten() -> None:
    scene, first, second = Scene(), list[DeliveredMessage](), list[DeliveredMessage]()
    scene.stream.deliver(2, cast("AbstractChannel", scene), first.append)
    scene.stream.deliver(2, cast("AbstractChannel", scene), second.append)
    scene.stream.forget(first.append)
    scene.stream.feed(delivered(1, b"", channel=2))
    assert (len(first), len(second)) == (0, 1)
    scene.stream.forget(scene.received.append)
    assert scene.stream.feed(delivered(1, b"")) == delivered(1, b"")


@pytest.mark.parametrize("method", [Channel.Close(406, "timeout", 0, 0), Channel.CloseOk()])
def test_the_end_of_a_channel_is_known_before_the_library_reads_it(method: Channel.Close | Channel.CloseOk) -> None:
    scene, closed = Scene(), list[int]()
    for number in (1, 2):
        on_close = partial(closed.append, number)
        scene.stream.deliver(number, cast("AbstractChannel", scene), scene.received.append, on_close)
    close = frame.marshal(method, 2)
    assert scene.stream.feed(close) == close
    assert closed == [2]


@pytest.mark.parametrize("nonsense", [b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request", QOS_OK[:-1] + b"\x00" * 9])
def test_what_is_no_frame_is_left_to_the_library_with_all_that_follows(nonsense: bytes) -> None:
    scene = Scene()
    assert scene.stream.feed(nonsense) == nonsense
    assert scene.stream.feed(delivered(1, b"body")) == delivered(1, b"body")
    assert not scene.received


def test_a_frame_that_the_end_of_the_connection_cuts_is_left_to_the_library() -> None:
    scene = Scene()
    assert scene.stream.feed(QOS_OK[:-3]) == b""
    assert scene.stream.feed_eof() == QOS_OK[:-3]
    assert scene.stream.feed_eof() == b""


def test_names_that_are_no_text_do_not_end_the_connection() -> None:
    scene = Scene()
    scene.stream.feed(delivered(1, b"").replace(b"\x01k", b"\x01\xff"))
    assert scene.received[0].routing_key == "\N{REPLACEMENT CHARACTER}"
