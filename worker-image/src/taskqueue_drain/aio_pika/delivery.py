"""A message that the broker has delivered, and its settlement."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

from aio_pika import IncomingMessage
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq.abc import DeliveredMessage

from taskqueue_drain.protocol_log import log

# aiormq raises RuntimeError on a closed channel or connection.
CHANNEL_ERRORS: Final = (AMQPError, OSError, RuntimeError)
SETTLE_TIMEOUT_SECONDS: Final = 10


class Delivery:
    """Settles its message once; what follows has no effect."""

    def __init__(self, delivered: DeliveredMessage, take: Callable[["Delivery"], bool]) -> None:
        """`take` is called when the task is about to begin, and returns whether it may."""
        self._delivered = delivered
        self._channel = delivered.channel
        self._take = take
        self._message: AbstractIncomingMessage | None = None
        self._handling: asyncio.Future[None] | None = None
        self._is_settled = False

    @property
    def body(self) -> bytes:
        """The body of the message."""
        return self._delivered.body

    @property
    def message(self) -> AbstractIncomingMessage:
        """The message for an application of aio-pika, with all properties. To read them takes CPU."""
        if self._message is None:
            self._message = IncomingMessage(self._delivered)
        return self._message

    @property
    def is_settled(self) -> bool:
        """Whether it was settled, by the application too, or is being settled."""
        return self._is_settled or (self._message is not None and self._message.processed)

    @property
    def is_lost(self) -> bool:
        """Whether the broker delivers the message again, because the channel is closed."""
        return self._channel.is_closed

    def handle(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this in a task of its own: aiormq cancels its tasks with the channel."""
        self._handling = asyncio.ensure_future(work)

    def withdraw(self) -> None:
        """The message is about to be requeued: what waits for a slot ends."""
        if self._handling is not None:
            self._handling.cancel()

    def take(self) -> bool:
        """Whether the task of the message may begin. False if the message is being requeued, or lost."""
        return self._take(self)

    async def ack(self) -> None:
        """The task is done."""
        await self._settle(lambda: self._channel.basic_ack(self._tag))

    async def reject(self, *, requeue: bool) -> None:
        """The task has failed. With requeue, the broker counts the attempt."""
        await self._settle(lambda: self._channel.basic_reject(self._tag, requeue=requeue))

    async def requeue(self) -> None:
        """The task has not begun. Since RabbitMQ 4.3, `basic.nack` does not count as an attempt."""
        if not self.is_lost:
            await self._settle(lambda: self._channel.basic_nack(self._tag, requeue=True))

    @property
    def _tag(self) -> int:
        return cast("int", self._delivered.delivery_tag)

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        if self.is_settled:
            return
        self._is_settled = True
        try:
            if self.is_lost:
                raise ChannelInvalidStateError("its channel is closed")
            async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
                await settle()
        except CHANNEL_ERRORS as error:
            log.warning("a message is not settled, the broker delivers it again: %s", str(error) or repr(error))
