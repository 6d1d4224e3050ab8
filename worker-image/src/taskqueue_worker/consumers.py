"""The consumers that a worker has had on one queue over a connection."""

import asyncio

from .consumer import Consumer
from .worker import Worker


class Consumers:
    """The current consumer, and former ones whose deliveries may still run: these are settled on their channels."""

    def __init__(self, worker: Worker) -> None:
        """`worker` holds their deliveries."""
        self._worker = worker
        self._consumers: list[Consumer] = []

    @property
    def current(self) -> Consumer | None:
        """The consumer that receives messages at this time, if any."""
        latest = self._consumers[-1] if self._consumers else None
        return latest if latest is not None and latest.is_receiving else None

    @property
    def is_quiet(self) -> bool:
        """Whether no message can arrive any more from any of them."""
        return all(consumer.cancelled_for_certain.is_set() for consumer in self._consumers)

    async def wait_until_quiet(self) -> None:
        """Wait until no message can arrive any more; something else must have stopped the consumption."""
        for consumer in tuple(self._consumers):
            await consumer.cancelled_for_certain.wait()

    def add(self, consumer: Consumer) -> None:
        """Add the next consumer."""
        self._consumers.append(consumer)

    def take_unused(self) -> list[Consumer]:
        """Remove and return the former consumers that have no unsettled delivery."""
        unused = [consumer for consumer in self._consumers if self._is_unused(consumer)]
        self._consumers = [consumer for consumer in self._consumers if consumer not in unused]
        return unused

    def on_connection_lost(self) -> None:
        """The connection is lost, with all their channels."""
        for consumer in self._consumers:
            consumer.on_channel_closed()
        self._consumers.clear()

    async def close(self) -> None:
        """Close every channel. The broker has then processed every settlement that was sent before."""
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))

    def _is_unused(self, consumer: Consumer) -> bool:
        holds = self._worker.holds(lambda delivery: delivery.consumer_tag == consumer.tag)
        return consumer.cancelled_for_certain.is_set() and (consumer.channel.is_closed or not holds)
