import pytest
from pamqp import commands
from pamqp.heartbeat import Heartbeat

from taskqueue_drain.conformance.amqp_frames import FRAME_BYTES, Frame, FrameReader, Method
from tests.unit.taskqueue_drain.conformance.frames import raw

GREETING = b"AMQP\x00\x00\x09\x01"
STREAM = (
    GREETING + raw(commands.Basic.CancelOk(consumer_tag="a"), 3) + Heartbeat().marshal() + raw(commands.Basic.Qos())
)


def read(pieces: list[bytes]) -> list[Frame]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.feed(piece)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_are_read_from_pieces_of_any_size_and_forwarded_unchanged(size: int) -> None:
    frames = read([STREAM[start : start + size] for start in range(0, len(STREAM), size)])
    assert b"".join(frame.raw for frame in frames) == STREAM
    assert [frame.method for frame in frames] == [None, Method.CANCEL_OK, None, Method.OTHER]
    assert [frame.channel for frame in frames] == [0, 3, 0, 1]


def test_a_frame_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        read([b"\x01\x00\x01" + (FRAME_BYTES + 1).to_bytes(4)])
