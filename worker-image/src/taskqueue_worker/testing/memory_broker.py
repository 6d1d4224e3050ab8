"""A broker in memory: one queue with its delays and its dead letters, for the worker of one task."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Unpack, cast
from uuid import uuid4

from aio_pika import Message
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_worker.amqp.acknowledgements import Acknowledgements
from taskqueue_worker.attempts import Attempt
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.publishing.task_message import TaskOptions

from .task_run import DeadLetter, PublishedTask

QUEUE = "tests"


@dataclass(frozen=True, eq=False)
class MemoryDelivery(Delivery):
    """A delivery whose settlement changes the queue in memory."""

    broker: "MemoryBroker" = field(kw_only=True)

    @property
    def is_lost(self) -> bool:  # type: ignore[explicit-override]
        """Never: there is no connection."""
        return False

    async def acknowledge(self) -> bool:  # type: ignore[explicit-override]
        """See `Delivery`."""
        return True

    async def acknowledge_and_wait(self) -> bool:  # type: ignore[explicit-override]
        """See `Delivery`."""
        return True

    async def requeue(self) -> bool:  # type: ignore[explicit-override]
        """See `Delivery`."""
        self.broker.put(self.delivered)
        return True

    async def reject(self) -> bool:  # type: ignore[explicit-override]
        """See `Delivery`."""
        return await self.requeue()


class MemoryBroker:
    """Takes what a worker publishes, without a wait.

    Attributes:
        delays: Seconds of each delay that a message was published with.
        dead_letter: What was published elsewhere than to the queue.
        published: What handlers have published.
    """

    def __init__(self) -> None:
        self._messages: deque[DeliveredMessage] = deque()
        self.delays: list[float] = []
        self.dead_letter: DeadLetter | None = None
        self.published: list[PublishedTask] = []

    def put(self, delivered: DeliveredMessage) -> None:
        """Store a message at the end of the queue."""
        self._messages.append(delivered)

    def take(self) -> Delivery | None:
        """Remove the next message, if there is one, and deliver it."""
        if not self._messages:
            return None
        delivered = self._messages.popleft()
        headers = delivered.header.properties.headers or {}
        attempt = Attempt.of(headers, redelivered=bool(delivered.redelivered), counts_failures=True)
        none = cast("Acknowledgements", None)  # no method of these deliveries uses it
        return MemoryDelivery(delivered, QUEUE, none, attempt, broker=self)

    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        """Publish a message (`settlement.Send`)."""
        if (exchange, routing_key) == ("", QUEUE):
            self.put(_delivered(message))
        else:
            self.dead_letter = DeadLetter(message.body, dict(message.headers))

    async def publish(self, exchange: str, routing_key: str, payload: object, **options: Unpack[TaskOptions]) -> str:
        """Publish another task (`TaskPublisher`)."""
        self.published.append(PublishedTask(exchange, routing_key, payload, options))
        return options.get("message_id") or str(uuid4())

    async def close(self) -> None:
        """Close nothing."""

    async def delay(self, message: Message, queue: str, delay_ms: int) -> None:
        """Publish a message that returns after a delay, which does not pass (`retries.Delay`)."""
        self.delays.append(delay_ms / 1000)
        await self.send(message, "", queue)


def _delivered(message: Message) -> DeliveredMessage:
    # As it is on the wire: what AMQP cannot carry fails here too.
    header = ContentHeader(body_size=len(message.body), properties=message.properties)
    wire = ContentHeader()
    wire.unmarshal(header.marshal())
    deliver = Basic.Deliver("tests", 1, redelivered=False, exchange="", routing_key=QUEUE)
    return DeliveredMessage(deliver, wire, message.body, cast("AbstractChannel", cast("Any", None)))
