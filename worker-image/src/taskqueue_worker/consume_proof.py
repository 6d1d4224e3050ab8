"""Proves that the broker delivers to the consumers of a worker, or finds one that the broker has forgotten."""

import asyncio
import time
from collections.abc import Sequence

import structlog
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelClosed
from pamqp.commands import Queue

from taskqueue_drain import Figures
from taskqueue_drain.aio import is_cancellation_requested

from . import bounds
from .consumer import CHANNEL_ERRORS, RPC_TIMEOUT_SECONDS, Consumer
from .subscription import Subscription
from .worker import Worker

_log = structlog.get_logger("consume proof")


class ConsumeProof:
    """Checks the consumer of each queue. A delivery since the last check is a proof; otherwise the broker is asked.

    A subscription without a consumer is no case for a restart: it waits, or tries again by itself.
    """

    def __init__(self, subscriptions: Sequence[Subscription], worker: Worker) -> None:
        self._subscriptions = subscriptions
        self._worker = worker
        self._seen: dict[str, tuple[str, int]] = {}
        self._proven_at: dict[str, float] = {}

    @property
    def is_consuming(self) -> bool:
        """Whether there is a recent proof for each queue; also while there is no connection, which no restart opens."""
        oldest = time.monotonic() - 2 * bounds.CONSUMER_CHECK_SECONDS - RPC_TIMEOUT_SECONDS
        return all(proven_at > oldest for proven_at in self._proven_at.values())

    def figures(self) -> Figures:
        """Count what runs and what waits."""
        return self._worker.figures()

    async def run(self, connection: AbstractConnection) -> None:
        """Check until cancelled, with the loss of the connection."""
        self._proven_at = dict.fromkeys((one.queue for one in self._subscriptions), time.monotonic())
        try:
            while True:
                await asyncio.sleep(bounds.CONSUMER_CHECK_SECONDS)
                for subscription in self._subscriptions:
                    if await self._is_proven(subscription, connection):
                        self._proven_at[subscription.queue] = time.monotonic()
        finally:
            self._proven_at.clear()

    async def _is_proven(self, subscription: Subscription, connection: AbstractConnection) -> bool:
        consumer, queue = subscription.consumers.current, subscription.queue
        if consumer is None:
            return True
        seen = (consumer.tag, consumer.deliveries)
        before, self._seen[queue] = self._seen.get(queue), seen
        if before != seen or self._worker.holds(lambda delivery: delivery.queue == queue):
            return True
        try:
            declared = await _ask(connection, queue)
        except (*CHANNEL_ERRORS, asyncio.CancelledError):
            if is_cancellation_requested():
                raise
            return False
        if not is_forgotten(consumer, declared):
            return True
        _log.error("consumer receives nothing", queue=queue, ready=declared.message_count)
        return False


def is_forgotten(consumer: Consumer, declared: Queue.DeclareOk) -> bool:
    """Whether the broker holds messages, and does not deliver them to a consumer that has received none meanwhile.

    With other consumers, one that has never received a message may be the one that waits to become a single active
    consumer. Counts of 0 prove nothing: a queue without a leader has them too.
    """
    is_alone = not declared.consumer_count
    return bool(declared.message_count) and (is_alone or consumer.deliveries > 0)


async def _ask(connection: AbstractConnection, queue: str) -> Queue.DeclareOk:
    """Ask for the counts of a queue. A refusal is an answer too: the subscription learns of it by itself.

    Raises:
        AMQPError, OSError, RuntimeError, asyncio.CancelledError: There is no answer.
    """
    try:
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            # A channel of its own: a refusal closes it.
            async with connection.channel(publisher_confirms=False) as channel:
                return (await channel.declare_queue(queue, passive=True)).declaration_result
    except ChannelClosed:
        return Queue.DeclareOk(queue, 0, 0)
