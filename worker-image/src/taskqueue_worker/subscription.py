"""Consumes one queue for as long as the connection stands."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed

from taskqueue_worker.backoff import Backoff
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.interrupt import cancelled_by_us, pause, unless
from taskqueue_worker.settings import Settings
from taskqueue_worker.worker import Worker

RPC_TIMEOUT_SECONDS = 10
CONSUMER_TIMEOUT = "x-consumer-timeout"
# RuntimeError is how aiormq says that a channel or connection is closed.
LOST = (AMQPError, OSError, RuntimeError)

log = structlog.get_logger(__name__)


class Subscription:
    """One queue. It is never declared: a queue that is not there is waited for."""

    def __init__(self, queue: str, settings: Settings, worker: Worker, draining: asyncio.Event) -> None:
        self.queue = queue
        self._settings = settings
        self._worker = worker
        self._draining = draining
        self._channel: AbstractChannel | None = None
        self._arguments: dict[str, Any] = {}
        self._tag: str | None = None
        self._ended = asyncio.Event()
        self.consuming = False
        """The broker has this worker as a consumer of the queue."""

    async def run(self, connection: AbstractConnection) -> None:
        """Consume, and again whenever the broker ends it, until the worker drains. Cancelled with the connection."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        self._channel = None
        self._arguments = {CONSUMER_TIMEOUT: self._settings.consumer_timeout_ms}
        while not self._draining.is_set():
            began = clock()
            try:
                # The channel outlives a consumer: what still runs is settled on it.
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._open_channel(connection)
                await self._consume(self._channel)
                reason = "the broker ended the consumer"
            except LOST as error:
                reason = str(error) or repr(error)
                if self._can_do_without(error):
                    continue
            except asyncio.CancelledError:
                if cancelled_by_us():
                    raise
                reason = "the channel closed"
            if not self._draining.is_set():
                delay = backoff.after(clock() - began)
                log.warning("not consuming", queue=self.queue, reason=reason, retry_in_seconds=round(delay, 3))
                await pause(self._draining, delay)

    async def close(self) -> None:
        """Close the channel. The broker answers after it has taken every settlement sent before."""
        if self._channel is not None and not self._channel.is_closed:
            with suppress(*LOST, asyncio.CancelledError):
                async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                    await self._channel.close()

    def _can_do_without(self, error: Exception) -> bool:
        """RabbitMQ 4.3 refuses a consumer timeout for classic queues, which never time out there."""
        refused = isinstance(error, ChannelPreconditionFailed) and CONSUMER_TIMEOUT in str(error)
        return refused and self._arguments.pop(CONSUMER_TIMEOUT, None) is not None

    async def _open_channel(self, connection: AbstractConnection) -> AbstractChannel:
        channel = connection.channel(publisher_confirms=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            underlay = await channel.get_underlay_channel()
            await channel.set_qos(prefetch_count=self._settings.prefetch)
        # An event of this channel's own: a former channel that closes late must not end the consumer of this one.
        self._ended = ended = asyncio.Event()
        underlay.on_consumer_cancel_callbacks.add(lambda _: ended.set())
        channel.close_callbacks.add(lambda *_: ended.set())
        return channel

    async def _consume(self, channel: AbstractChannel) -> None:
        """Until the broker ends it or the worker drains; then what has not started goes back to the queue."""
        queue = await channel.get_queue(self.queue, ensure=False)
        # Always a new tag: the broker may still hold the old one, and would close the whole connection.
        tag = f"{self._settings.name}-{uuid4().hex[:12]}"
        self._ended.clear()
        self._tag = tag
        try:
            await queue.consume(
                self._receive, consumer_tag=tag, arguments=dict(self._arguments), timeout=RPC_TIMEOUT_SECONDS
            )
            self.consuming = True
            log.info("consuming", queue=self.queue, prefetch=self._settings.prefetch, arguments=self._arguments)
            await unless(self._draining, self._ended.wait())
            if not channel.is_closed:
                # Also when the broker ended it: after a consumer timeout RabbitMQ 4.3 keeps the consumer, and once
                # the late message is settled delivers to it again, where nobody listens any more.
                await queue.cancel(tag, timeout=RPC_TIMEOUT_SECONDS)
        finally:
            was_consuming, self.consuming, self._tag = self.consuming, False, None
            returned = await self._worker.give_back(lambda delivery: delivery.message.consumer_tag == tag)
            if was_consuming:
                log.info("stopped consuming", queue=self.queue, given_back=returned)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        delivery = Delivery(message, self.queue)
        if message.consumer_tag == self._tag:
            self._worker.receive(delivery)
        else:
            # Delivered before its consumer ended, seen after: the broker has it back already, or gets it now.
            await delivery.give_back()
