"""Delays tasks when they are published, in the delay queues of the vhost."""

import asyncio
from typing import Protocol

from aio_pika import Message

from taskqueue_worker.bounds import DECLARED_SECONDS

from .delay_queues import RETURN_EXCHANGE
from .ladder import ConfirmedPublisher, Ladder


class CheckingPublisher(ConfirmedPublisher, Protocol):
    """What delays need of a publisher."""

    async def require(self, queue: str, exchange: str) -> None:
        """Return if a queue and an exchange exist, and raise UnroutableError otherwise."""
        ...


class Delays:
    """Delays tasks of a publisher.

    The broker routes a delayed message when its delay is over, so it cannot tell the publisher that no queue will
    receive it. The queue is checked before instead, once an hour.
    """

    def __init__(self, publisher: CheckingPublisher) -> None:
        self._publisher = publisher
        self._ladder = Ladder(publisher)
        self._checked_at: dict[str, float] = {}

    async def delay(self, message: Message, queue: str, delay_ms: int) -> None:
        """Publish a message that enters `queue` after the delay; return once it is stored.

        Raises:
            UnroutableError: The queue does not exist.
            PublishFailedError: The message may not be stored.
        """
        now = asyncio.get_running_loop().time()
        if now - self._checked_at.get(queue, -DECLARED_SECONDS) >= DECLARED_SECONDS:
            await self._publisher.require(queue, RETURN_EXCHANGE)
            self._checked_at[queue] = now
        await self._ladder.delay(message, queue, delay_ms)
