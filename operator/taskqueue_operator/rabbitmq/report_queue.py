"""The queue of reports: which of its messages are reports at all, and at what rate they are acknowledged.

A client that may publish to a vhost can send anything to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, NamedTuple

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from pamqp.common import FieldTable
from structlog.typing import FilteringBoundLogger

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance
from taskqueue_operator.resource.names import CONTROL_EXCHANGE as EXCHANGE

from .bounded_connection import CONNECTION_LOST
from .clock import loop_time

ACK_TIMEOUT_SECONDS: Final = 2.0
"""A broker with a memory alarm does not read what is sent to it."""
DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to."
"""How the addresses begin that RabbitMQ makes for direct reply-to; any other address could be anyone's queue."""
PREFETCH: Final = 2 * bounds.REPORTS_PER_TURN
"""Reports that the broker delivers before the first of them is acknowledged."""
QUEUE_ARGUMENTS: Final[FieldTable] = {
    "x-max-length": bounds.REPORT_QUEUE_MESSAGES,
    "x-max-length-bytes": bounds.REPORT_QUEUE_BYTES,
}

OnReport = Callable[[str, bytes, str], None]
"""Receives the TaskQueue (`namespace/name`), the report, and the address for commands to its sender."""


class _Ack(NamedTuple):
    """The acknowledgement of a report and of all before it, after a pause. Does not keep the report in memory."""

    tag: int
    pause_seconds: float


class ReportQueue:
    """Consumes the reports of one control channel, by one channel of AMQP after the other."""

    def __init__(
        self,
        taskqueues: Collection[str],
        on_report: OnReport,
        next_turn: Callable[[], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        """`taskqueues` are those to listen for when a message arrives; `next_turn` waits for a turn to read."""
        self._taskqueues = taskqueues
        self._on_report = on_report
        self._next_turn = next_turn
        self._log = log
        self._acks: asyncio.Queue[_Ack] = asyncio.Queue(PREFETCH)
        self._has_overflowed = False
        self._unacked = 0
        self._log_lines = Allowance(
            per_second=bounds.REPORT_LOG_LINES_PER_SECOND, at_once=bounds.REPORT_LOG_LINES_AT_ONCE
        )

    async def consume(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare the queue on a new channel, and consume it."""
        queue = await channel.declare_queue(exclusive=True, arguments=QUEUE_ARGUMENTS)
        # Acknowledged in turns: so RabbitMQ stores, and in the end drops, what is sent faster than it is read.
        await channel.set_qos(prefetch_count=PREFETCH)
        self._unacked, self._acks, self._has_overflowed = 0, asyncio.Queue(PREFETCH), False
        await queue.consume(self._on_message)
        return queue

    async def acknowledge(self, channel: AbstractChannel) -> None:
        """Acknowledge reports whenever this queue may be read further.

        Returns when the connection is lost, or is of no use: the broker ignores the prefetch.
        """
        acks = self._acks
        while not self._has_overflowed:
            ack = await acks.get()
            await asyncio.sleep(ack.pause_seconds)
            await self._next_turn()
            try:
                async with asyncio.timeout(ACK_TIMEOUT_SECONDS):
                    await (await channel.get_underlay_channel()).basic_ack(ack.tag, multiple=True)
            except CONNECTION_LOST:  # otherwise RabbitMQ might wait for this acknowledgement for ever
                return

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        reason = self._refusal(message)
        if reason is None:
            self._on_report(message.routing_key or "", message.body, message.reply_to or "")
        elif self._log_lines.take(loop_time()):
            self._log.warning("report refused", detail=reason)
        self._unacked += 1
        oversized = len(message.body) > bounds.REPORT_BYTES
        if message.delivery_tag is not None and (self._unacked >= bounds.REPORTS_PER_TURN or oversized):
            self._unacked = 0
            pause = len(message.body) / bounds.REPORT_BYTES_PER_SECOND if oversized else 0.0
            self._has_overflowed = self._has_overflowed or self._acks.full()
            if not self._has_overflowed:
                self._acks.put_nowait(_Ack(message.delivery_tag, pause))

    def _refusal(self, message: AbstractIncomingMessage) -> str | None:
        """Return why a message is no report of a TaskQueue that is read here; None if it is one.

        Headers `CC` and `BCC`, other exchanges and the name of our queue lead messages with any routing key to us. The
        routing key of a TaskQueue of another vhost is not listened for here, so no one can report for it.
        """
        if message.exchange != EXCHANGE or message.routing_key not in self._taskqueues:
            return f"It was not published to exchange {EXCHANGE} with the routing key of a TaskQueue of this vhost."
        if not (message.reply_to or "").startswith(DIRECT_REPLY_TO):
            return f"Its property reply_to is not {DIRECT_REPLY_TO.rstrip('.')}."
        if len(message.body) > bounds.REPORT_BYTES:
            return f"It has {len(message.body)} bytes, which is more than {bounds.REPORT_BYTES}."
        return None
