"""Frames of AMQP, written by aio-pika's own library."""

from pamqp import commands, frame

from taskqueue_drain.conformance.amqp_frames import Frame, FrameReader


def raw(method: object, channel: int = 1) -> bytes:
    return frame.marshal(method, channel)  # type: ignore[arg-type]  # pamqp has no common type of its methods


def frame_of(method: object, channel: int = 1) -> Frame:
    (read,) = FrameReader().feed(raw(method, channel))
    return read


def consume(queue: str = "jobs", tag: str = "first") -> Frame:
    return frame_of(commands.Basic.Consume(queue=queue, consumer_tag=tag))


def deliver(tag: int) -> Frame:
    return frame_of(commands.Basic.Deliver(consumer_tag="first", delivery_tag=tag, exchange="", routing_key="jobs"))
