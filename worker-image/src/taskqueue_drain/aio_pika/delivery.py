"""A message that the broker has delivered, and its settlement."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from taskqueue_drain.protocol_log import log

# aiormq raises RuntimeError on a closed channel or connection.
CHANNEL_ERRORS: Final = (AMQPError, OSError, RuntimeError)
SETTLE_TIMEOUT_SECONDS: Final = 10


class Delivery:
    """Settles its message once; what follows has no effect.

    Attributes:
        message: The message.
        is_settled: Whether it was settled, or is being settled.
    """

    def __init__(self, message: AbstractIncomingMessage, take: Callable[["Delivery"], bool]) -> None:
        """`take` is called when the task is about to begin, and returns whether it may."""
        self.message = message
        self.is_settled = False
        self._take = take

    @property
    def is_lost(self) -> bool:
        """Whether the broker delivers the message again, because the channel is closed."""
        return self.message.channel.is_closed

    def take(self) -> bool:
        """Whether the task of the message may begin. False if the message is being requeued, or lost."""
        return self._take(self)

    async def ack(self) -> None:
        """The task is done."""
        await self._settle(self.message.ack)

    async def reject(self, *, requeue: bool) -> None:
        """The task has failed. With requeue, the broker counts the attempt."""
        await self._settle(lambda: self.message.reject(requeue=requeue))

    async def requeue(self) -> None:
        """The task has not begun. Since RabbitMQ 4.3, `basic.nack` does not count as an attempt."""
        if not self.is_lost:
            await self._settle(lambda: self.message.nack(requeue=True))

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        if self.is_settled or self.message.processed:
            return
        self.is_settled = True
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
                await settle()
        except CHANNEL_ERRORS as error:
            log.warning("a message is not settled, the broker delivers it again: %s", str(error) or repr(error))
