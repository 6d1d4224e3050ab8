"""A message that was delivered to this worker, and the three ways to settle it."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, cast

import structlog
from aio_pika import IncomingMessage
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from taskqueue_drain.copy_headers import ATTEMPT
from taskqueue_drain.unreadable_header import UNREADABLE_HEADER

from .amqp.acknowledgements import Acknowledgements
from .attempts import Attempt
from .dead_letters import original_routing_key
from .envelope import task_headers
from .envelope.json_envelope import CONTENT_TYPE, Envelope, media_type_of, open_envelope
from .payload import JSON, PayloadError, decode
from .trace_context import trace_id_of

SETTLE_TIMEOUT_SECONDS: Final = 10

UNREADABLE: Final = (
    "The AMQP properties of the message cannot be read: a text is not UTF-8, or a value is out of range. Correct the "
    "publisher. The bytes are in the header x-unreadable-properties of the dead letter."
)

_log = structlog.get_logger("delivery")


@dataclass(frozen=True, eq=False)
class Delivery:
    """An unacknowledged message of this worker.

    Attributes:
        delivered: The message as the client library delivered it.
        queue: The queue that it came from.
        acknowledgements: Those of its channel.
        attempt: The attempt that comes next.
        envelope: What the JSON envelope in the body says, without the payload; None if the properties say it.
        problem: Why no handler can run the task; empty if one can.
        received_at: When it was delivered.
    """

    delivered: DeliveredMessage
    queue: str
    acknowledgements: Acknowledgements
    attempt: Attempt
    envelope: Envelope | None = None
    problem: str = ""
    received_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        delivered: DeliveredMessage,
        queue: str,
        acknowledgements: Acknowledgements,
        *,
        counts_failures: bool,
        attempts_of_broker: int = 0,
    ) -> "Delivery":
        """Describe a message that was delivered. `counts_failures` and `attempts_of_broker`: see `Attempt.of`."""
        acknowledgements.hold(cast("int", delivered.delivery_tag))
        headers, envelope, problem = _headers(delivered), None, ""
        try:
            envelope = _opened(delivered, headers)
        except PayloadError as error:
            problem = str(error)
        if envelope is not None and envelope.retry_count and ATTEMPT not in headers:
            headers = {**headers, ATTEMPT: envelope.retry_count + 1}
        attempt = Attempt.of(
            headers,
            redelivered=bool(delivered.redelivered),
            counts_failures=counts_failures,
            attempts_of_broker=attempts_of_broker,
        )
        return cls(delivered, queue, acknowledgements, attempt, envelope, problem)

    @property
    def message(self) -> AbstractIncomingMessage:
        """All properties, for a copy. Reading all of them takes a tenth of the CPU of a task without work.

        Those of an envelope repeat what it says, for tools that read no bodies.
        """
        message = IncomingMessage(self.delivered)
        if self.envelope is not None:
            message.content_type = CONTENT_TYPE
            message.message_id, message.type = self.envelope.id, self.envelope.type
        return message

    @property
    def body(self) -> bytes:
        """The body of the message."""
        return self.delivered.body

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers of the message."""
        return _headers(self.delivered)

    @property
    def consumer_tag(self) -> str | None:
        """The consumer that received it."""
        return self.delivered.consumer_tag

    @property
    def task_id(self) -> str | None:
        """The publisher's identifier of the task: that of the envelope, else the AMQP `message_id`."""
        return self.envelope.id if self.envelope is not None else self._properties.message_id or None

    @property
    def type(self) -> str:
        """The task type: that of the envelope, else the AMQP `type`, else the routing key."""
        if self.envelope is not None:
            return self.envelope.type
        return self._properties.message_type or self.routing_key

    @property
    def version(self) -> int:
        """The version of the payload, from 1.

        Raises:
            PayloadError: The header is no whole number.
        """
        return self.envelope.version if self.envelope is not None else task_headers.version(self.headers)

    @property
    def correlation_id(self) -> str | None:
        """What the publisher relates the task to."""
        stated = self.envelope.correlation_id if self.envelope is not None else None
        return stated or self._properties.correlation_id or None

    @property
    def expires_at(self) -> datetime | None:
        """When the task expires, if it does.

        Raises:
            PayloadError: The header is no time.
        """
        return task_headers.expires_at(self.headers)

    @property
    def routing_key(self) -> str:
        """The routing key with which the task was published."""
        return original_routing_key(self.headers, self.delivered.routing_key)

    @property
    def trace_id(self) -> str | None:
        """The trace to which the publisher has added the task (W3C header `traceparent`), if any."""
        return trace_id_of(self.headers)

    @property
    def log_fields(self) -> dict[str, object]:
        """What each log line of the task says of it."""
        fields: dict[str, object] = {"task_id": self.task_id, "type": self.type, "attempt": self.attempt.number}
        trace_id = self.trace_id
        return fields if trace_id is None else {**fields, "trace_id": trace_id}

    @property
    def published_at(self) -> datetime | None:
        """When the publisher says that it was published: in the envelope, else the AMQP timestamp, in whole seconds."""
        stated = self.envelope.timestamp if self.envelope is not None else None
        return stated or self._properties.timestamp

    @property
    def is_returned(self) -> bool:
        """Whether the broker delivered this copy of the message before."""
        return bool(self.delivered.redelivered)

    @property
    def counted_returns(self) -> int:
        """How often the message came back, as far as a quorum queue counts that for its delivery limit."""
        count = self.headers.get("x-delivery-count")
        return count if isinstance(count, int) else 0

    @property
    def redelivered(self) -> bool:
        """Whether the message was delivered before: another worker may have started the task."""
        return self.is_returned or self.attempt.is_copy

    @property
    def is_lost(self) -> bool:
        """Whether the channel is closed, so that the broker delivers the message again."""
        return self.delivered.channel.is_closed

    def payload(self) -> object:
        """Decode the body if it is JSON or has no content type; return the bytes otherwise. Of an envelope: its data.

        Raises:
            PayloadError: The content type says JSON, but the body is not valid, or contains a number that is not exact.
        """
        if self.envelope is not None:
            return Envelope.read(decode(self.body)).data
        return decode(self.body) if media_type_of(self._properties.content_type) == JSON else self.body

    async def acknowledge(self) -> bool:
        """Acknowledge the message. False if the channel is lost: the broker delivers the message again."""
        return not self.is_lost and self.acknowledgements.acknowledge(self._tag)

    async def acknowledge_and_wait(self) -> bool:
        """Acknowledge the message, and wait until the broker has done so: no loss of this process undoes it then."""
        return await self.acknowledge() and await self._settle(self._processed())

    async def requeue(self) -> bool:
        """Return the message to its queue. False if the channel is lost, which has the same effect."""
        # nack and not reject: a quorum queue counts a reject as a failed attempt.
        return await self._give_back(self.delivered.channel.basic_nack(self._tag, requeue=True))

    async def reject(self) -> bool:
        """Return the message to its queue as failed. False if the channel is lost, which counts as a failure too."""
        return await self._give_back(self.delivered.channel.basic_reject(self._tag, requeue=True))

    @property
    def _properties(self) -> Basic.Properties:
        return self.delivered.header.properties

    @property
    def _tag(self) -> int:
        return cast("int", self.delivered.delivery_tag)

    async def _processed(self) -> None:
        # An acknowledgement has no answer. RabbitMQ answers this method, which changes nothing, after all before it.
        self.acknowledgements.send()
        await self.delivered.channel.flow(active=True)

    async def _give_back(self, frame_sent: Awaitable[None]) -> bool:
        settled = await self._settle(frame_sent)
        if settled:
            self.acknowledgements.release(self._tag)
        return settled

    async def _settle(self, frame_sent: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
                await frame_sent
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - every failure means that the channel is lost
            # aiormq ends the waits on a closing channel with the reason of the close, CancelledError among them.
            _log.debug("not settled", task_id=self.task_id, queue=self.queue, error=repr(error))
            return False
        return True


def _opened(delivered: DeliveredMessage, headers: Mapping[str, Any]) -> Envelope | None:
    """Return the envelope of a message without its payload, which would take much more memory while the message waits.

    Raises:
        PayloadError: The envelope, or the properties of the message, are not valid.
    """
    if UNREADABLE_HEADER in headers:
        raise PayloadError(UNREADABLE)
    properties = delivered.header.properties
    envelope = open_envelope(delivered.body, properties.content_type, properties.message_type)
    return None if envelope is None else replace(envelope, data=None)


def _headers(delivered: DeliveredMessage) -> Mapping[str, Any]:
    return delivered.header.properties.headers or {}
