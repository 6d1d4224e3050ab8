"""A message that the broker delivered to a consumer by hand."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What a handler gets. `method` and `properties` are those of pika."""

    body: bytes
    properties: Any
    method: Any


Handler = Callable[[Message], object]


class Delivery:
    """A message and the channel that can settle it. Only the thread of the connection settles."""

    def __init__(self, channel: Any, message: Message) -> None:  # noqa: ANN401 - pika has no types
        self._channel = channel
        self.message = message

    @property
    def is_lost(self) -> bool:
        """Whether its channel is closed: the broker delivers the message again."""
        return not self._channel.is_open

    def acknowledge(self) -> None:
        """The task is done."""
        self._channel.basic_ack(self.message.method.delivery_tag)

    def reject(self, *, requeue: bool) -> None:
        """The task has failed."""
        self._channel.basic_reject(self.message.method.delivery_tag, requeue=requeue)

    def requeue(self) -> None:
        """The task has not begun. `basic.nack`: since RabbitMQ 4.3, `basic.reject` counts as a failure."""
        self._channel.basic_nack(self.message.method.delivery_tag, requeue=True)
