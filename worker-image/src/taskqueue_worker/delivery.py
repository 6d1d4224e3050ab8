"""One message in the worker's hands, and the three ways to let go of it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import orjson
import structlog
from aio_pika.abc import AbstractIncomingMessage

SETTLE_TIMEOUT_SECONDS = 10
JSON = "application/json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Delivery:
    """A message the broker delivered to this worker and that is not settled yet."""

    message: AbstractIncomingMessage
    queue: str

    @property
    def task_id(self) -> str | None:
        """The publisher's name for this task."""
        return self.message.message_id

    @property
    def type(self) -> str:
        """What kind of task: the AMQP type, else the routing key."""
        return self.message.type or self.message.routing_key or ""

    @property
    def attempt(self) -> int | None:
        """Which try this is, where the broker counts failed ones (quorum queues, from the second on)."""
        failed = self.message.headers.get("x-delivery-count")
        return failed + 1 if isinstance(failed, int) else None

    def payload(self) -> object:
        """The body: decoded when it is JSON, which is also what no content type means; else the bytes.

        Raises:
            ValueError: it should be JSON and is not.
        """
        media_type = (self.message.content_type or JSON).partition(";")[0].strip().lower()
        return orjson.loads(self.message.body) if media_type == JSON else self.message.body

    async def acknowledge(self) -> bool:
        """Tell the broker that the task is done. False if it could not be told: it will deliver the message again."""
        return await self._settle(self.message.ack())

    async def dead_letter(self) -> bool:
        """Have the broker move the message to the queue's dead-letter exchange. False if it could not be told."""
        return await self._settle(self.message.reject(requeue=False))

    async def give_back(self) -> bool:
        """Put the message back into its queue. False if the connection died, which does the same."""
        # nack, not reject: a quorum queue counts a reject as a failure of the task.
        return await self._settle(self.message.nack(requeue=True))

    async def _settle(self, frame_sent: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
                await frame_sent
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - every failure means the channel is dead
            # aiormq ends the waits of a closing channel with the reason of the close, CancelledError among them.
            log.debug("not settled", task_id=self.task_id, queue=self.queue, error=repr(error))
            return False
        return True
