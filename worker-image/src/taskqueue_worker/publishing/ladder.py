"""Delays messages on the broker, in the delay queues of the vhost."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from aio_pika import DeliveryMode, Message

from taskqueue_worker.bounds import DECLARED_SECONDS

from .delay_queues import MARKER_ARGUMENTS, delay_arguments, delay_queue, delay_seconds_of, marker_ms, marker_queue
from .errors import PublishFailedError


class ConfirmedPublisher(Protocol):
    """What the ladder needs of a publisher; all methods raise PublishFailedError."""

    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        """Publish a message, and return once its queues have confirmed it."""
        ...

    async def declare(self, queue: str, arguments: Mapping[str, Any], *, exchange: str | None = None) -> None:
        """Declare a durable queue, and the fanout exchange that feeds it."""
        ...


class Ladder:
    """Delay queues of a vhost, declared when they are needed.

    Each delayed message has a marker in a queue of its own TaskQueue, so that the operator can count them. The marker
    is stored first and lives longer: the count is never too low.
    """

    def __init__(self, publisher: ConfirmedPublisher) -> None:
        self._publisher = publisher
        self._declared_at: dict[str, float] = {}

    async def delay(self, message: Message, queue: str, delay_ms: int) -> None:
        """Publish a message that returns to `queue` after the delay; return once it is stored.

        Raises:
            PublishFailedError: It may not be stored.
        """
        seconds = delay_seconds_of(delay_ms)
        delaying, markers = delay_queue(seconds), marker_queue(queue)
        message.expiration = timedelta(milliseconds=delay_ms)
        marker = Message(
            b"", delivery_mode=DeliveryMode.PERSISTENT, expiration=timedelta(milliseconds=marker_ms(seconds))
        )
        try:
            await self._declare(delaying, delay_arguments(seconds), exchange=delaying)
            await self._declare(markers, MARKER_ARGUMENTS)
            await self._publisher.send(marker, "", markers)
            await self._publisher.send(message, delaying, queue)
        except PublishFailedError:
            for name in (delaying, markers):  # one of them may have been deleted
                self._declared_at.pop(name, None)
            raise

    async def _declare(self, queue: str, arguments: Mapping[str, Any], *, exchange: str | None = None) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._declared_at.get(queue, -DECLARED_SECONDS) >= DECLARED_SECONDS:
            await self._publisher.declare(queue, arguments, exchange=exchange)
            self._declared_at[queue] = now
