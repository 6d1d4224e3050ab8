"""Publishes tasks and waits for the broker's confirm."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from aiormq.exceptions import ChannelAccessRefused
from aiormq.exceptions import PublishError as ReturnedError

from taskqueue_drain.aio import is_cancellation_requested
from taskqueue_drain.aio_pika.connection import CONNECTION_ERRORS, close, connect
from taskqueue_drain.broker import BrokerSource, BrokerUri

from .delays import Delays
from .errors import PublishFailedError, UnroutableError
from .schedule import Schedule, Seconds
from .task_message import TaskProperties, task_message

__all__ = ["PublishFailedError", "Publisher", "UnroutableError"]


class Publisher:
    """Publishes persistent, mandatory, confirmed messages on its own connection.

    The next publish reopens a lost connection. A message is never published twice by itself.
    """

    def __init__(
        self,
        broker: str | BrokerSource,
        *,
        name: str = "taskqueue-publisher",
        in_flight: int = 100,
        timeout_seconds: float = 10,
    ) -> None:
        """Make a publisher; it connects when it is entered.

        Args:
            broker: An AMQP URI, or a source of address and credentials.
            name: Name of the connection.
            in_flight: How many messages may wait for their confirm at once.
            timeout_seconds: Limit for one publish, including a reconnect.
        """
        self._source: BrokerSource = BrokerUri(broker) if isinstance(broker, str) else broker
        self._name = name
        self._timeout = timeout_seconds
        self._in_flight = asyncio.Semaphore(in_flight)
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._delays = Delays(self)

    async def __aenter__(self) -> Self:
        async with self._answering():
            await self._open_channel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def publish(  # noqa: PLR0913 - when the task may run; all have a default
        self,
        exchange: str,
        routing_key: str,
        payload: object,
        *,
        delay: Seconds | None = None,
        not_before: datetime | None = None,
        expires: Seconds | datetime | None = None,
        **properties: Unpack[TaskProperties],
    ) -> str:
        """Publish one task and return its `message_id`. `bytes` are sent unchanged, every other payload as JSON.

        With `delay` or `not_before`, `exchange` is "" and `routing_key` the name of the queue.

        Raises:
            UnroutableError: No queue would receive the message.
            PublishFailedError: The broker did not confirm the message, or refused it. The error has the `message_id`.
            PayloadError: The payload contains NaN or an infinite number, which JSON does not have.
            TypeError: The payload cannot be encoded as JSON, or a property is missing or unknown.
            ValueError: A property or a time is not valid.
        """
        now = datetime.now(UTC)
        schedule = Schedule.of(now, delay=delay, not_before=not_before, expires=expires)
        message_id = properties["message_id"] = properties.get("message_id") or str(uuid4())
        message = task_message(payload, now, schedule, **properties)
        try:
            if schedule.delay_ms:
                await self._delay(message, exchange, routing_key, schedule.delay_ms)
            else:
                await self.send(message, exchange, routing_key)
        except PublishFailedError as error:
            error.message_id = message_id
            raise
        return message_id

    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        """Publish a message, and return once its queues have confirmed it.

        Raises:
            UnroutableError: No queue would receive the message.
            PublishFailedError: The broker did not confirm the message, or refused it.
        """
        try:
            async with self._answering():
                channel = await self._open_channel()
                target = await channel.get_exchange(exchange, ensure=False)
                await target.publish(message, routing_key, mandatory=True)
        except ReturnedError as error:
            raise UnroutableError(
                f"Not published: exchange {exchange!r} has no queue for routing key {routing_key!r}. "
                "Check the routing key, or bind a queue."
            ) from error
        except DeliveryError as error:
            raise PublishFailedError(
                f"Not published: a queue of exchange {exchange!r} refused the message. It may be full or being deleted."
            ) from error

    async def _delay(self, message: Message, exchange: str, queue: str, delay_ms: int) -> None:
        if exchange:
            raise ValueError(
                'delay and not_before need exchange="" and the name of the queue as routing key: a delayed message '
                "returns to a queue, and not to an exchange."
            )
        try:
            async with asyncio.timeout(self._timeout):
                await self._delays.delay(message, queue, delay_ms)
        except TimeoutError as error:
            raise self._not_confirmed() from error

    async def require(self, queue: str, exchange: str) -> None:
        """Return if a queue and an exchange exist, or if the user may not ask for them.

        Raises:
            UnroutableError: One of them does not.
            PublishFailedError: The broker did not answer.
        """
        async with self._answering():
            connection = await self._open_connection()
            async with connection.channel() as channel:  # a passive declaration of what is missing closes it
                try:
                    await channel.declare_queue(queue, passive=True)
                    await channel.declare_exchange(exchange, passive=True)
                except ChannelNotFoundEntity as error:
                    raise UnroutableError(
                        f"Not published: {error}. Only tasks of a TaskQueue with Exponential retries can be delayed."
                    ) from error
                except ChannelAccessRefused:
                    return  # RabbitMQ 4.3 answers only to who may declare the queue

    async def declare(self, queue: str, arguments: Mapping[str, Any], *, exchange: str | None = None) -> None:
        """Declare a durable queue, and the fanout exchange that feeds it.

        Raises:
            PublishFailedError: The broker did not answer, or refused.
        """
        async with self._answering():
            connection = await self._open_connection()
            # A channel of its own: a refused declaration closes it, and others wait for confirms on the usual one.
            async with connection.channel() as channel:
                declared = await channel.declare_queue(queue, durable=True, arguments=dict(arguments))
                if exchange is not None:
                    source = await channel.declare_exchange(exchange, ExchangeType.FANOUT, durable=True)
                    await declared.bind(source)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Limit the time of an operation, and raise PublishFailedError if the broker does not answer or refuses it."""
        try:
            async with asyncio.timeout(self._timeout), self._in_flight:
                yield
        except (ReturnedError, DeliveryError):
            raise
        except TimeoutError as error:
            raise self._not_confirmed() from error
        except (AMQPError, OSError, RuntimeError) as error:
            raise PublishFailedError(f"Not published: {error}") from error
        except asyncio.CancelledError as error:
            if is_cancellation_requested():
                raise
            raise PublishFailedError(
                "Not confirmed: the connection was lost. Publish again with the same message_id."
            ) from error

    def _not_confirmed(self) -> PublishFailedError:
        return PublishFailedError(
            f"Not confirmed: the broker did not answer within {self._timeout:g} s. "
            "Publish again with the same message_id."
        )

    async def close(self) -> None:
        """Close the connection, if there is one. The next publish opens it again."""
        await self._close()

    async def _close(self) -> None:
        if self._connection is not None:
            await close(self._connection)

    async def _connect(self) -> AbstractConnection:
        try:
            return await connect(self._source, self._name)
        except CONNECTION_ERRORS as error:
            raise PublishFailedError(f"Not connected: {error}") from error

    async def _open_connection(self) -> AbstractConnection:
        async with self._opening:
            if self._connection is None or not self._connection.connected.is_set():
                await self._close()
                self._connection, self._channel = await self._connect(), None
            return self._connection

    async def _open_channel(self) -> AbstractChannel:
        connection = await self._open_connection()
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await connection.channel(on_return_raises=True)
            return self._channel
