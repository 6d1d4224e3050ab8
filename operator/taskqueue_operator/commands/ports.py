"""What the operations on dead letters use of a queue; `rabbitmq/dead_letter_queue.py` is the adapter."""

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from taskqueue_operator.dead_letters.destination import Kept
from taskqueue_operator.dead_letters.letter import DeadLetter, Headers


class Delivery(Protocol):
    """A dead letter that was received and is not acknowledged."""

    @property
    def tag(self) -> int:
        """Identifies the delivery on its connection."""

    @property
    def letter(self) -> DeadLetter:
        """What the dead letter says about itself."""

    @property
    def headers(self) -> Headers:
        """The headers of the message."""

    @property
    def content_type(self) -> str | None:
        """The MIME type of the body."""

    @property
    def body(self) -> bytes:
        """The body, or its beginning."""


D = TypeVar("D", bound=Delivery)


class DeadLetterQueue(Protocol[D]):
    """A dead-letter queue. Any call may raise BrokerFault."""

    name: str

    @property
    def held(self) -> int:
        """How many received messages are not acknowledged."""

    async def ready(self) -> int:
        """Return the number of ready messages."""

    def deliveries(self, count: int, *, held: int) -> AsyncIterator[D]:
        """Receive up to `count` messages, the oldest first, while fewer than `held` are not acknowledged."""

    async def check_publishing(self) -> None:
        """Check that messages can be published."""

    async def redrive(self, delivery: D, queue: str, headers: Headers) -> Kept | None:
        """Publish a copy and acknowledge the dead letter; returns why it stays, or None."""

    async def acknowledge(self, tag: int) -> None:
        """Delete a dead letter."""

    async def release(self) -> None:
        """Return all messages that are not acknowledged."""
