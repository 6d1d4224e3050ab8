"""A consumer of a queue, from its start until it is cancelled for certain."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast

import aiormq
import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError
from aiormq.abc import DeliveredMessage

from taskqueue_drain.aio import is_cancellation_requested
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT

from .amqp.acknowledgements import Acknowledgements
from .amqp.connection import Connection
from .delivery import Delivery

RPC_TIMEOUT_SECONDS: Final = 10
COUNTS_FAILURES_SINCE: Final = (4, 3)
# aiormq raises RuntimeError on a closed channel or connection.
CHANNEL_ERRORS: Final = (AMQPError, OSError, RuntimeError)

_log = structlog.get_logger("consumer")


class Consumer:
    """A consumer on its own channel. The channel outlives the consumer: its deliveries are settled there.

    Attributes:
        channel: The channel of the consumer.
        tag: The consumer tag.
        deliveries: Number of messages that it has received.
        ended: Set when the broker cancelled the consumer, or its channel is closed.
        cancelled_for_certain: Set while it is certain that the broker delivers nothing more to this consumer.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a consumer consists of
        self,
        connection: Connection,
        channel: AbstractChannel,
        queue: str,
        tag: str,
        prefetch: int,
        state_changed: asyncio.Event,
    ) -> None:
        """`tag` must be new: the broker may still know an old one, and would close the whole connection."""
        self._connection = connection
        self.channel = channel
        self.tag = tag
        self._queue = queue
        self._prefetch = prefetch
        self._state_changed = state_changed
        self._receive: Callable[[Delivery], None] | None = None
        self._strays: set[asyncio.Task[None]] = set()
        self.deliveries = 0
        self._counts_failures = False
        self._attempts_of_broker = 0
        self.ended = asyncio.Event()
        self.cancelled_for_certain = asyncio.Event()

    @classmethod
    async def open(
        cls, connection: Connection, queue: str, tag: str, prefetch: int, state_changed: asyncio.Event
    ) -> "Consumer":
        """Open a channel for a consumer that does not consume yet.

        `state_changed` is set when the consumer is cancelled for certain, or turns out not to be.

        Raises:
            AMQPError, OSError, RuntimeError: The channel cannot be opened.
        """
        channel = connection.channel(publisher_confirms=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            underlay = await channel.get_underlay_channel()
            await channel.set_qos(prefetch_count=prefetch)
        consumer = cls(connection, channel, queue, tag, prefetch, state_changed)
        underlay.on_consumer_cancel_callbacks.add(lambda _: consumer.ended.set())
        channel.close_callbacks.add(lambda *_: consumer.on_channel_closed())
        return consumer

    async def start(
        self, receive: Callable[[Delivery], None], arguments: dict[str, Any], *, attempts_of_broker: int = 0
    ) -> None:
        """Consume until `cancel`; call `receive` with each delivery. `attempts_of_broker`: see `Attempt.of`.

        Raises:
            AMQPError, OSError, RuntimeError: The broker refused, or the channel is closed.
        """
        self._receive = receive
        self._attempts_of_broker = attempts_of_broker
        # Since 4.3 a quorum queue counts failed deliveries, and not those that were only given back. Only quorum queues
        # accept a consumer timeout there.
        self._counts_failures = CONSUMER_TIMEOUT in arguments and await _version(self.channel) >= COUNTS_FAILURES_SINCE
        underlay = await self.channel.get_underlay_channel()
        number, loop = cast("aiormq.Channel", underlay).number, asyncio.get_running_loop()
        self._acknowledgements = Acknowledgements(number, self._connection, loop.call_soon)
        # Before the library knows the consumer, and as long as the channel lives: it would drop a late delivery.
        self._connection.deliveries.deliver(number, underlay, self._receive_safely, self._acknowledgements.close)
        await underlay.basic_consume(
            self._queue,
            _no_delivery,
            consumer_tag=self.tag,
            arguments=dict(arguments),
            timeout=RPC_TIMEOUT_SECONDS,
        )

    async def cancel(self) -> None:
        """Cancel the consumer; return when the broker confirmed it, or the channel is closed.

        Neither this method nor `make_certain` has a timeout: aiormq closes a channel when a call on it is given up, and
        the broker would then redeliver the running tasks. A caller that must not wait runs them in the background.
        """
        if not self.channel.is_closed:
            underlay = await self.channel.get_underlay_channel()
            # Even if the broker cancelled it: after a consumer timeout RabbitMQ 4.3 keeps the consumer, and delivers to
            # it again once the late message is settled.
            await _is_answered(underlay.basic_cancel(self.tag))
        self._receive = None

    async def make_certain(self) -> None:
        """After `cancel`: return when the broker delivers nothing more to this consumer, or the channel is closed.

        `basic.cancel-ok` can arrive before the queue leader has processed the cancel. RabbitMQ processes a channel in
        order, so the reply to a further synchronous method arrives after that.
        """
        if not self.channel.is_closed and not await _is_answered(self.channel.set_qos(prefetch_count=self._prefetch)):
            return  # the callback of the closed channel calls `on_channel_closed`
        if not self._strays:
            self.cancelled_for_certain.set()
            self._state_changed.set()

    def on_channel_closed(self) -> None:
        """The channel is closed: nothing can be delivered any more."""
        self._connection.deliveries.forget(self._receive_safely)
        self.ended.set()
        self.cancelled_for_certain.set()
        self._state_changed.set()

    async def close(self) -> None:
        """Close the channel. The broker answers after it has processed every settlement that was sent before."""
        if not self.channel.is_closed:
            with suppress(*CHANNEL_ERRORS, asyncio.CancelledError):
                async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                    await self.channel.close()

    @property
    def is_receiving(self) -> bool:
        """Whether deliveries are expected: it has been started, and neither cancelled nor ended."""
        return self._receive is not None and not self.ended.is_set()

    def _receive_safely(self, message: DeliveredMessage) -> None:
        try:
            self._on_message(message)
        except Exception:  # noqa: BLE001 - it would end the connection, and the next one with the same message
            _log.exception("message not received", queue=self._queue)

    def _on_message(self, message: DeliveredMessage) -> None:
        self.deliveries += 1
        delivery = Delivery.of(
            message,
            self._queue,
            self._acknowledgements,
            counts_failures=self._counts_failures,
            attempts_of_broker=self._attempts_of_broker,
        )
        if self._receive is not None:
            self._receive(delivery)
            return
        # Delivered before the cancel and received after it; or the broker did not cancel the consumer.
        self.cancelled_for_certain.clear()
        self._state_changed.set()
        stray = asyncio.ensure_future(self._return_stray(delivery))
        self._strays.add(stray)

    async def _return_stray(self, delivery: Delivery) -> None:
        await delivery.requeue()
        self._strays.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        await self.make_certain()


async def _no_delivery(_: DeliveredMessage) -> None:
    """Deliveries do not pass through the library, which needs a callback."""


async def _version(channel: AbstractChannel) -> tuple[int, ...]:
    """Return major and minor version of the broker; (0,) if it states none."""
    connection = (await channel.get_underlay_channel()).connection
    version = str(cast("aiormq.Connection", connection).server_properties.get("version"))
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) or (0,)


async def _is_answered(call: Awaitable[object]) -> bool:
    """Return whether the broker answered the call before the channel closed."""
    try:
        await call
    except CHANNEL_ERRORS:
        return False
    except asyncio.CancelledError:
        if is_cancellation_requested():
            raise
        return False
    return True
