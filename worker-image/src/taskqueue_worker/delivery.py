"""A message that was delivered to this worker, and the two ways to settle it."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final

import structlog
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import ChannelInvalidStateError

from .attempts import Attempt
from .dead_letters import original_routing_key
from .payload import JSON, decode
from .unreadable_properties import UNREADABLE_HEADER

SETTLE_TIMEOUT_SECONDS: Final = 10

_log = structlog.get_logger("delivery")


@dataclass(frozen=True, eq=False)
class Delivery:
    """An unacknowledged message of this worker."""

    message: AbstractIncomingMessage
    queue: str
    attempt: Attempt
    received_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, message: AbstractIncomingMessage, queue: str, *, counts_failures: bool) -> "Delivery":
        """Describe a message that was delivered. `counts_failures`: see `Attempt.of`."""
        redelivered = bool(message.redelivered)
        return cls(
            message, queue, Attempt.of(message.headers, redelivered=redelivered, counts_failures=counts_failures)
        )

    @property
    def task_id(self) -> str | None:
        """The publisher's identifier of the task: the AMQP `message_id`."""
        return self.message.message_id

    @property
    def type(self) -> str:
        """The task type: the AMQP `type`, else the routing key."""
        return self.message.type or self.routing_key

    @property
    def routing_key(self) -> str:
        """The routing key with which the task was published."""
        return original_routing_key(self.message)

    @property
    def redelivered(self) -> bool:
        """Whether the message was delivered before: another worker may have started the task."""
        return bool(self.message.redelivered) or self.attempt.is_copy

    @property
    def is_lost(self) -> bool:
        """Whether the channel is closed, so that the broker delivers the message again."""
        try:
            return self.message.channel.is_closed
        except ChannelInvalidStateError:
            return True

    @property
    def is_unreadable(self) -> bool:
        """Whether the properties of the message could not be read, so that neither type nor identity is known."""
        return UNREADABLE_HEADER in self.message.headers

    def payload(self) -> object:
        """Decode the body if it is JSON or has no content type; return the bytes otherwise.

        Raises:
            PayloadError: The content type says JSON, but the body is not valid, or contains a number that is not exact.
        """
        media_type = (self.message.content_type or JSON).partition(";")[0].strip().lower()
        return decode(self.message.body) if media_type == JSON else self.message.body

    async def acknowledge(self) -> bool:
        """Acknowledge the message. False if the channel is lost: the broker delivers the message again."""
        return await self._settle(self.message.ack())

    async def requeue(self) -> bool:
        """Return the message to its queue. False if the channel is lost, which has the same effect."""
        # nack and not reject: a quorum queue counts a reject as a failed attempt.
        return await self._settle(self.message.nack(requeue=True))

    async def _settle(self, frame_sent: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
                await frame_sent
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - every failure means that the channel is lost
            # aiormq ends the waits on a closing channel with the reason of the close, CancelledError among them.
            _log.debug("not settled", task_id=self.task_id, queue=self.queue, error=repr(error))
            return False
        return True
