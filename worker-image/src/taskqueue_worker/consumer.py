"""One consumer of a queue, from its start to the certainty that the broker has it no more."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq.abc import ConsumerCallback

from .aio import cancelled_by_us
from .delivery import Delivery

RPC_TIMEOUT_SECONDS = 10
# RuntimeError is how aiormq says that a channel or connection is closed.
LOST = (AMQPError, OSError, RuntimeError)


class Consumer:
    """On a channel of its own, which outlives it: what it delivered is settled there."""

    def __init__(self, channel: AbstractChannel, queue: str, tag: str, prefetch: int, news: asyncio.Event) -> None:
        """`tag` is always a new one: the broker may still hold the old one, and would close the whole connection."""
        self.channel = channel
        self.tag = tag
        self._queue = queue
        self._prefetch = prefetch
        self._news = news
        self._receive: Callable[[Delivery], None] | None = None
        self._strays = 0
        self.ended = asyncio.Event()
        """The broker ended it, or its channel is closed."""
        self.gone = asyncio.Event()
        """The broker has nothing for it any more, for certain."""

    @classmethod
    async def open(
        cls, connection: AbstractConnection, queue: str, tag: str, prefetch: int, news: asyncio.Event
    ) -> "Consumer":
        """One on a new channel, which does not consume yet. `news` is set when it is gone, or turns out not to be.

        Raises:
            AMQPError, OSError, RuntimeError: the channel cannot be had.
        """
        channel = connection.channel(publisher_confirms=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            underlay = await channel.get_underlay_channel()
            await channel.set_qos(prefetch_count=prefetch)
        consumer = cls(channel, queue, tag, prefetch, news)
        cast("aiormq.Channel", underlay).consumers = _Kept()
        underlay.on_consumer_cancel_callbacks.add(lambda _: consumer.ended.set())
        channel.close_callbacks.add(lambda *_: consumer.forget())
        return consumer

    async def start(self, receive: Callable[[Delivery], None], arguments: dict[str, Any]) -> None:
        """Consume, until `cancel`: `receive` is given each delivery.

        Raises:
            AMQPError, OSError, RuntimeError: the broker refused, or is gone.
        """
        self._receive = receive
        queue = await self.channel.get_queue(self._queue, ensure=False)
        await queue.consume(
            self._on_message, consumer_tag=self.tag, arguments=dict(arguments), timeout=RPC_TIMEOUT_SECONDS
        )

    async def cancel(self) -> None:
        """Take no further delivery; return when the broker confirmed that, or the channel is closed.

        Neither this nor `make_certain` has a time limit: aiormq closes a channel on which a call is given up, and with
        it would go back what still runs. Whoever does not want to wait leaves it running beside.
        """
        if not self.channel.is_closed:
            queue = await self.channel.get_queue(self._queue, ensure=False)
            # Also when the broker ended it: after a consumer timeout RabbitMQ 4.3 keeps the consumer, and once
            # the late message is settled delivers to it again, where nobody listens any more.
            await _or_closed(queue.cancel(self.tag))
        self._receive = None

    async def make_certain(self) -> None:
        """After `cancel`: return when it is gone for certain.

        A cancel may be confirmed before the queue's leader has agreed to it. But the broker works off a channel in
        order: whatever is asked next is answered after that.
        """
        if not self.channel.is_closed and not await _or_closed(self.channel.set_qos(prefetch_count=self._prefetch)):
            return  # `forget` comes with the end of the channel
        if not self._strays:
            self.gone.set()
            self._news.set()

    def forget(self) -> None:
        """Its channel is closed: nothing can come any more."""
        self.ended.set()
        self.gone.set()
        self._news.set()

    async def close(self) -> None:
        """Close the channel. The broker answers after it has taken every settlement sent before."""
        if not self.channel.is_closed:
            with suppress(*LOST, asyncio.CancelledError):
                async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                    await self.channel.close()

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        delivery = Delivery(message, self._queue)
        if self._receive is not None:
            self._receive(delivery)
            return
        # Delivered before its consumer ended, seen after; or the broker did not end it.
        self._strays += 1
        self.gone.clear()
        self._news.set()
        await delivery.give_back()
        self._strays -= 1
        await self.make_certain()


async def _or_closed(call: Awaitable[object]) -> bool:
    """Whether the call was answered, and not cut off by the end of its channel."""
    try:
        await call
    except LOST:
        return False
    except asyncio.CancelledError:
        if cancelled_by_us():
            raise
        return False
    return True


class _Kept(dict[str, ConsumerCallback]):
    """aiormq forgets a consumer at cancel-ok, and what comes for it after that would stay unsettled."""

    # typing has no `override` before Python 3.12, and aiormq calls it in this one form.
    def pop(self, tag: str, default: None = None) -> ConsumerCallback | None:  # type: ignore[override,explicit-override]
        return self.get(tag, default)
