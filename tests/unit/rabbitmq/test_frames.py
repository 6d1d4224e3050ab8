from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, frame

from taskqueue_operator.rabbitmq import frames
from taskqueue_operator.resource.bounds import AMQP_METHOD_BYTES

NAMES = st.text(min_size=1, max_size=60).filter(lambda name: name.encode("utf-8", "replace").decode() == name)


@pytest.mark.slow
@given(st.lists(NAMES, min_size=1, max_size=5), st.integers(1, 2047))
def test_pamqp_decodes_a_passive_declare_of_any_queue_name(queues: list[str], channel: int) -> None:
    data = frames.passive_declares(channel, queues)

    for queue in queues:
        size, number, method = frame.unmarshal(data)
        assert isinstance(method, commands.Queue.Declare)
        assert (number, method.queue, method.passive, method.arguments) == (channel, queue, True, {})
        data = data[size:]
    assert data == b""


def declare_ok(channel: int, name: bytes, ready: int) -> bytes:
    payload = b"\x00\x32\x00\x0b" + bytes([len(name)]) + name + ready.to_bytes(4, "big") + bytes([0, 0, 0, 3])
    return b"\x01" + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


@given(st.lists(st.tuples(NAMES, st.integers(0, 1 << 31)), max_size=5), st.data())
def test_answers_are_decoded_wherever_the_bytes_are_split(asked: list[tuple[str, int]], data: st.DataObject) -> None:
    answers = [declare_ok(5, name.encode(), ready) for name, ready in asked]
    written = b"".join([*answers, b"\x08\x00\x00\x00\x00\x00\x00\xce"])
    cut = data.draw(st.integers(0, len(written)))

    read, rest = [], b""
    for part in (written[:cut], written[cut:]):
        rest += part
        processed = 0
        for kind, channel, begin, end in frames.complete_frames(rest):
            read += [(channel, *frames.parse_declare_ok(rest, begin, end))] if kind == frames.METHOD else []
            processed = end + 1
        rest = rest[processed:]

    assert read == [(5, name.encode(), ready, 3) for name, ready in asked]
    assert rest == b""


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"\x01\x00\x00\x00\x00\x00\x02abX"])
def test_bytes_that_are_not_a_frame_are_refused(data: bytes) -> None:
    with pytest.raises(frames.NotAmqp):
        list(frames.complete_frames(data))


@pytest.mark.parametrize("payload", [b"", b"\x00\x32\x00\xff", b"\x00\x0a\x00\x32\x00", b"abcd"])
def test_a_payload_that_is_not_a_method_is_refused(payload: bytes) -> None:
    with pytest.raises(frames.NotAmqp):
        frames.parse_method(payload)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_payload_is_a_method_or_refused(payload: bytes) -> None:
    for known in (b"", b"\x00\x0a\x00\x0a\x00\x09", b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28", b"\x00\x32\x00\x0b"):
        with suppress(frames.NotAmqp):
            frames.parse_method(known + payload)


def test_a_method_is_refused_from_a_length_on_that_no_broker_needs() -> None:
    def payload(length: int) -> bytes:
        method = commands.Connection.Start(server_properties={"product": "x" * length})
        return frame.marshal(method, 0)[frames.HEADER.size : -1]

    assert isinstance(frames.parse_method(payload(AMQP_METHOD_BYTES // 2)), commands.Connection.Start)
    with pytest.raises(frames.NotAmqp):
        frames.parse_method(payload(AMQP_METHOD_BYTES))


def test_tables_within_tables_are_refused() -> None:
    table = b""
    for _ in range(20_000):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    start = b"\x00\x0a\x00\x0a\x00\x09" + len(table).to_bytes(4, "big") + table + bytes(8)
    with pytest.raises(frames.NotAmqp):
        frames.parse_method(start)


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    with suppress(frames.NotAmqp):
        for kind, _, begin, end in frames.complete_frames(data):
            if kind == frames.METHOD and data.startswith(frames.DECLARE_OK, begin):
                frames.parse_declare_ok(data, begin, end)
