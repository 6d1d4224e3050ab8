"""Publishes tasks and waits for the broker's confirm."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import PublishError as ReturnedError

from taskqueue_drain.aio import is_cancellation_requested
from taskqueue_drain.aio_pika.connection import CONNECTION_ERRORS, close, connect
from taskqueue_drain.broker import BrokerSource, BrokerUri
from taskqueue_worker.payload import JSON, encode

from .errors import PublishFailedError, UnroutableError

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

    async def __aenter__(self) -> Self:
        await self._open_channel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def publish(  # noqa: PLR0913 - the properties of a message; all but three have a default
        self,
        exchange: str,
        routing_key: str,
        payload: object,
        *,
        type: str,  # noqa: A002 - named as the AMQP property it sets
        message_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        priority: int | None = None,
    ) -> str:
        """Publish one task and return its `message_id`. `bytes` are sent unchanged, every other payload as JSON.

        Raises:
            UnroutableError: No queue would receive the message.
            PublishFailedError: The broker did not confirm the message, or refused it.
            PayloadError: The payload contains NaN or an infinite number, which JSON does not have.
            TypeError: The payload cannot be encoded as JSON.
        """
        message_id = message_id or str(uuid4())
        body, content_type = (
            (payload, "application/octet-stream") if isinstance(payload, bytes) else (encode(payload), JSON)
        )
        message = Message(
            body,
            content_type=content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=message_id,
            type=type,
            headers=dict(headers or {}),
            priority=priority,
        )
        await self.send(message, exchange, routing_key)
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
            raise PublishFailedError(
                f"Not confirmed: the broker did not answer within {self._timeout:g} s. "
                "Publish again with the same message_id."
            ) from error
        except (AMQPError, OSError, RuntimeError) as error:
            raise PublishFailedError(f"Not published: {error}") from error
        except asyncio.CancelledError as error:
            if is_cancellation_requested():
                raise
            raise PublishFailedError(
                "Not confirmed: the connection was lost. Publish again with the same message_id."
            ) from error

    async def close(self) -> None:
        """Close the connection, if there is one."""
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
