"""One dead-letter queue, over AMQP: receives messages, and acknowledges, redrives or returns each of them.

AMQP has no way to look at a message: the messages that a listing shows are unacknowledged until it returns them, at the
end and in their order. `dead_letters/delivery_limit.py` says what that leaves behind.

* The prefetch of a consumer bounds what is on its way. Once a consumer has delivered so many messages that stay
  unacknowledged, another one replaces it, on the same channel.
* Copies are published one by one on that channel, too. RabbitMQ processes a channel in order: when it confirms a copy,
  it has processed each earlier acknowledgement. So whenever this process ends, at most one message is in both queues.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Final
from uuid import uuid4

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import DeliveryError
from pamqp.commands import Basic

from taskqueue_operator.dead_letters.delivery_limit import Version, parse_version
from taskqueue_operator.dead_letters.destination import Kept
from taskqueue_operator.dead_letters.letter import Headers
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import CONTROL_PREFIX

from . import faults
from .bounded_connection import CONNECTION_LOST
from .dead_letter_arrivals import Arrivals, Delivery, delivery_tag
from .dead_letter_copy import copied_properties
from .dead_letter_errors import explained
from .endpoint import Endpoint

ANSWER_TIMEOUT_SECONDS: Final = 20.0
"""A quorum queue that has lost its leader may need several seconds."""
CONFIRM_TIMEOUT_SECONDS: Final = 30.0
"""A broker with a memory or disk alarm confirms nothing."""
IDLE_SECONDS: Final = 2.0
"""After this time without a delivery, the queue is asked whether it has more."""
LONGEST_IDLE_SECONDS: Final = 20.0


class DeadLetterQueue:
    """The queue on one channel.

    Attributes:
        version: Version of the broker; None if it is unknown.
    """

    def __init__(
        self, channel: AbstractChannel, endpoint: Endpoint, name: str, *, window: int, arrivals: Arrivals
    ) -> None:
        self.name = name
        self.version: Version | None = None
        self._channel = channel
        self._opened: object = None
        """The channel of aio-pika: its callbacks end with it."""
        self._endpoint = endpoint
        self._prefetch = window
        self._arrivals = arrivals
        self._inbox: asyncio.Queue[DeliveredMessage | None] = asyncio.Queue()
        self._end: Fault | None = None
        self._consumer = ""
        self._window = 0
        self._unacked: dict[int, int] = {}
        """Delivery tag of each message that is not acknowledged, in order, and the number of its window."""
        self._unacked_in_window = 0

    @classmethod
    async def open(
        cls, connection: AbstractConnection, endpoint: Endpoint, name: str, *, window: int, arrivals: Arrivals
    ) -> "DeadLetterQueue":
        """Open the channel."""
        properties = connection.transport.connection.server_properties if connection.transport is not None else None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
            raw = await channel.get_underlay_channel()
        except CONNECTION_LOST as error:
            raise faults.unreachable(endpoint, faults.cause(error)) from None
        queue = cls(raw, endpoint, name, window=window, arrivals=arrivals)
        queue.version = parse_version((properties or {}).get("version"))
        queue._opened = channel
        channel.close_callbacks.add(queue._on_close)
        raw.on_consumer_cancel_callbacks.add(queue._on_cancel)
        return queue

    @property
    def held(self) -> int:
        """How many received messages are not acknowledged."""
        return len(self._unacked) - self._inbox.qsize()

    async def ready(self) -> int:
        """Return the number of messages that are ready; all that was sent before has been processed then.

        Raises:
            BrokerFault: The queue does not exist, or the broker cannot be used.
        """
        with self._explained():
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                answer = await self._channel.queue_declare(self.name, passive=True)
        return answer.message_count or 0

    async def deliveries(self, count: int, *, held: int) -> AsyncIterator[Delivery]:
        """Receive messages, the oldest first: up to `count`, and while fewer than `held` are not acknowledged.

        Raises:
            BrokerFault: The broker cannot be used, or delivers nothing.
        """
        # Even for an empty queue: a queue without a leader says that it is empty, and accepts no consumer.
        await self._consume()
        for _ in range(count):
            if self.held >= held:
                return
            message = await self._next()
            if message is None:
                return
            yield self._arrivals.delivery(message)

    async def check_publishing(self) -> None:
        """Publish a message that no queue receives.

        Raises:
            BrokerFault: The user may not write to the default exchange, so that no message can return to its queue.
        """
        await self._publish(b"", f"{CONTROL_PREFIX}none.{uuid4().hex}", Basic.Properties())

    async def redrive(self, delivery: Delivery, queue: str, headers: Headers) -> Kept | None:
        """Publish a copy with other headers to a queue and, once it is stored, acknowledge the dead letter.

        Returns why the dead letter stays, or None.

        Raises:
            BrokerFault: The broker cannot be used. One copy may be stored, and the dead letter not acknowledged.
        """
        properties = copied_properties(delivery.properties, headers)
        if properties is None:
            return Kept.NOT_WRITABLE
        kept = await self._publish(delivery.body, queue, properties)
        if kept is None:
            await self.acknowledge(delivery.tag)
        return kept

    async def acknowledge(self, tag: int) -> None:
        """Acknowledge a message, which deletes it.

        Raises:
            BrokerFault: The connection is lost.
        """
        with self._explained():
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                await self._channel.basic_ack(tag)
        if self._unacked.pop(tag) == self._window:
            self._unacked_in_window -= 1

    async def release(self) -> None:
        """Return all messages that are not acknowledged to the queue, in their order.

        `basic.nack` instead of the end of the channel: since RabbitMQ 4.3 it does not count towards the delivery limit.

        Raises:
            BrokerFault: The connection is lost. The broker returns the messages then.
        """
        await self._cancel()
        last_of_window = {window: tag for tag, window in self._unacked.items()}
        with self._explained():
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                # One for all would return the messages of several consumers in any order.
                for tag in last_of_window.values():
                    await self._channel.basic_nack(tag, multiple=True, requeue=True)
                await self._channel.basic_nack(0, multiple=True, requeue=True)
        await self.ready()  # until then, messages may arrive that were on their way
        self._unacked.clear()
        self._inbox = asyncio.Queue()

    async def _publish(self, body: bytes, queue: str, properties: Basic.Properties) -> Kept | None:
        self._arrivals.returned = False
        with self._explained('write exchange "amq.default"'):
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT_SECONDS):
                    await self._channel.basic_publish(body, routing_key=queue, properties=properties, mandatory=True)
            except DeliveryError:
                return Kept.REFUSED
            except TimeoutError:
                raise faults.not_confirmed(self._endpoint, CONFIRM_TIMEOUT_SECONDS) from None
        # RabbitMQ confirms a message that it has returned.
        return Kept.UNROUTABLE if self._arrivals.returned else None

    async def _consume(self) -> None:
        """Replace the consumer; messages that the former one has delivered stay unacknowledged."""
        await self._cancel()
        self._window += 1
        self._unacked_in_window = 0
        with self._explained():
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                await self._channel.basic_qos(prefetch_count=self._prefetch)
                self._consumer = f"dlq-{uuid4().hex}"
                await self._channel.basic_consume(self.name, self._on_message, consumer_tag=self._consumer)

    async def _cancel(self) -> None:
        consumer, self._consumer = self._consumer, ""
        if consumer:
            with self._explained():
                async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                    await self._channel.basic_cancel(consumer)

    async def _next(self) -> DeliveredMessage | None:
        """Wait for the next message; None if the queue has no more."""
        idle = 0.0
        while True:
            if self._inbox.empty() and self._unacked_in_window >= self._prefetch:
                await self._consume()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._inbox.get()
            except TimeoutError:
                ready = await self.ready()
                if not ready:
                    return None
                idle += IDLE_SECONDS
                if idle >= LONGEST_IDLE_SECONDS:
                    raise faults.not_delivered(self._endpoint, self.name, ready) from None
                continue
            if message is None:
                raise self._end or faults.unreachable(self._endpoint, "connection closed")
            return message

    async def _on_message(self, message: DeliveredMessage) -> None:
        self._unacked[delivery_tag(message)] = self._window
        self._unacked_in_window += 1
        self._inbox.put_nowait(message)

    def _on_close(self, _: object, error: BaseException | None = None) -> None:
        why = "connection closed" if error is None else faults.cause(error)
        self._stop(faults.unreachable(self._endpoint, why))

    def _on_cancel(self, _: object) -> None:
        self._stop(faults.consumer_cancelled(self._endpoint, self.name))

    def _stop(self, fault: Fault) -> None:
        self._end = self._end or fault
        self._inbox.put_nowait(None)

    def _explained(self, operation: str = "") -> AbstractContextManager[None]:
        return explained(self._endpoint, self.name, operation or f'read queue "{self.name}"', lambda: self._end)
