"""Received dead letters, with what the AMQP library does not tell: are they whole, and did a copy come back."""

from dataclasses import dataclass

from aiormq.abc import DeliveredMessage
from pamqp import base
from pamqp.commands import Basic
from typing_extensions import override

from taskqueue_operator.dead_letters.letter import DeadLetter, Headers, read, unreadable

from .bounded_connection import Received


@dataclass(frozen=True, slots=True)
class Delivery:
    """A dead letter that was received and is not acknowledged.

    Attributes:
        body: The body, or its beginning if the connection receives no more of it.
    """

    tag: int
    letter: DeadLetter
    properties: Basic.Properties
    body: bytes

    @property
    def headers(self) -> Headers:
        """The headers of the message."""
        return self.properties.headers or {}

    @property
    def content_type(self) -> str | None:
        """The MIME type of the body."""
        return self.properties.content_type


@dataclass(frozen=True, slots=True)
class _Size:
    """How much of a message was received, and the size of its body as it was sent."""

    body_bytes: int
    is_readable: bool
    is_whole: bool


def delivery_tag(message: DeliveredMessage) -> int:
    """Return the delivery tag of a message that a consumer has received."""
    delivery = message.delivery
    return delivery.delivery_tag or 0 if isinstance(delivery, Basic.Deliver) else 0


class Arrivals(Received):
    """Is told what a connection receives.

    Attributes:
        returned: Whether a published message came back, because no queue receives it.
    """

    def __init__(self) -> None:
        self.returned = False
        self._methods: dict[int, base.Frame] = {}
        self._sizes: dict[int, _Size] = {}

    @override
    def method(self, channel: int, method: base.Frame) -> None:
        # Methods of other channels may be between a method and its content.
        self._methods[channel] = method
        if isinstance(method, Basic.Return):
            self.returned = True

    @override
    def content(self, channel: int, body_bytes: int, *, readable: bool, whole: bool) -> None:
        method = self._methods.get(channel)
        if isinstance(method, Basic.Deliver) and method.delivery_tag is not None:
            self._sizes[method.delivery_tag] = _Size(body_bytes, is_readable=readable, is_whole=whole)

    def delivery(self, message: DeliveredMessage) -> Delivery:
        """Return a message that the library has delivered."""
        tag, properties = delivery_tag(message), message.header.properties
        size = self._sizes.pop(tag, _Size(len(message.body), is_readable=True, is_whole=False))
        if not size.is_readable:
            return Delivery(tag, unreadable(size.body_bytes), properties, message.body)
        letter = read(
            properties.headers or {},
            message_id=properties.message_id,
            message_type=properties.message_type,
            body_bytes=size.body_bytes,
            is_whole=size.is_whole,
        )
        return Delivery(tag, letter, properties, message.body)
