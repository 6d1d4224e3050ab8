"""What a broker sends."""

from pamqp import frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

BODY_FRAME_BYTES = 7


def delivered(tag: int, body: bytes, channel: int = 1) -> bytes:
    """Return the frames of a delivery, with a body in several frames."""
    pieces = [body[begin : begin + BODY_FRAME_BYTES] for begin in range(0, len(body), BODY_FRAME_BYTES)]
    frames: list[Frame | ContentHeader | ContentBody] = [
        Basic.Deliver("consumer", tag, redelivered=True, exchange="x", routing_key="k"),
        ContentHeader(0, len(body), Basic.Properties(message_id=str(tag))),
        *map(ContentBody, pieces),
    ]
    return b"".join(frame.marshal(one, channel) for one in frames)
