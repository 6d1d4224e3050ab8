"""A message that was delivered to this worker, and the three ways to settle it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

import orjson
import structlog
from aio_pika.abc import AbstractIncomingMessage

SETTLE_TIMEOUT_SECONDS: Final = 10
JSON: Final = "application/json"

_log = structlog.get_logger("delivery")


@dataclass(frozen=True, eq=False)
class Delivery:
    """An unacknowledged message of this worker."""

    message: AbstractIncomingMessage
    queue: str

    @property
    def task_id(self) -> str | None:
        """The publisher's identifier of the task: the AMQP `message_id`."""
        return self.message.message_id

    @property
    def type(self) -> str:
        """The task type: the AMQP `type`, else the routing key."""
        return self.message.type or self.message.routing_key or ""

    @property
    def attempt(self) -> int | None:
        """Number of this attempt, where the broker counts failed ones (quorum queues, from the second attempt on)."""
        failed = self.message.headers.get("x-delivery-count")
        return failed + 1 if isinstance(failed, int) else None

    def payload(self) -> object:
        """Decode the body if it is JSON or has no content type; return the bytes otherwise.

        Raises:
            ValueError: The body is not valid JSON although the content type says so.
        """
        media_type = (self.message.content_type or JSON).partition(";")[0].strip().lower()
        return orjson.loads(self.message.body) if media_type == JSON else self.message.body

    async def acknowledge(self) -> bool:
        """Acknowledge the message. False if the channel is lost: the broker delivers the message again."""
        return await self._settle(self.message.ack())

    async def dead_letter(self) -> bool:
        """Reject the message, so that the broker dead-letters it. False if the channel is lost."""
        return await self._settle(self.message.reject(requeue=False))

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
