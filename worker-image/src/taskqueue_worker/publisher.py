"""Puts tasks on an exchange, and returns when the broker has them."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import PublishError as ReturnedError

from .aio import cancelled_by_us
from .broker import BrokerSource, BrokerUri
from .connection import FAILURES, close, connect
from .delivery import JSON


class PublishFailedError(Exception):
    """The broker did not confirm the message. It may have it all the same: publish again under the same message_id."""


class UnroutableError(PublishFailedError):
    """No queue is bound for this exchange and routing key. The broker does not have the message."""


class Publisher:
    """Publishes persistent, mandatory, confirmed messages on a connection of its own.

    A connection that was lost is opened again by the next publish. Nothing is published twice by itself.
    """

    def __init__(
        self,
        broker: str | BrokerSource,
        *,
        name: str = "taskqueue-publisher",
        in_flight: int = 100,
        timeout_seconds: float = 10,
    ) -> None:
        """`in_flight`: how many messages may wait for their confirm; `timeout_seconds`: for one publish, in all."""
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
        """Publish one task; its message_id. `bytes` go as they are, everything else as JSON.

        Raises:
            UnroutableError: it would have reached no queue.
            PublishFailedError: no confirm, or a refusal.
            TypeError: the payload cannot be written as JSON.
        """
        message_id = message_id or str(uuid4())
        body, content_type = (
            (payload, "application/octet-stream") if isinstance(payload, bytes) else (orjson.dumps(payload), JSON)
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
        try:
            async with asyncio.timeout(self._timeout), self._in_flight:
                channel = await self._open_channel()
                target = await channel.get_exchange(exchange, ensure=False)
                await target.publish(message, routing_key, mandatory=True)
        except ReturnedError as error:
            raise UnroutableError(
                f"Not published: exchange {exchange!r} has no queue for routing key {routing_key!r}. "
                "Check the key, or bind a queue."
            ) from error
        except DeliveryError as error:
            raise PublishFailedError(f"A queue behind exchange {exchange!r} refused the message.") from error
        except TimeoutError as error:
            raise PublishFailedError(f"The broker did not confirm within {self._timeout:g} s.") from error
        except (AMQPError, OSError, RuntimeError) as error:
            raise PublishFailedError(f"Not published: {error}") from error
        except asyncio.CancelledError as error:
            if cancelled_by_us():
                raise
            raise PublishFailedError("The connection was lost before the broker confirmed.") from error
        return message_id

    async def _close(self) -> None:
        if self._connection is not None:
            await close(self._connection)

    async def _connect(self) -> AbstractConnection:
        try:
            return await connect(self._source, self._name)
        except FAILURES as error:
            raise PublishFailedError(f"Not connected: {error}") from error

    async def _open_channel(self) -> AbstractChannel:
        async with self._opening:
            if self._connection is None or not self._connection.connected.is_set():
                await self._close()
                self._connection, self._channel = await self._connect(), None
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._connection.channel(on_return_raises=True)
            return self._channel
