"""Sends reports to the operator and receives its commands (docs/control-protocol.md), on a separate connection."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from .aio import is_cancellation_requested, run_unless
from .backoff import Backoff
from .broker import BrokerSource
from .command_handler import CommandHandler
from .connection import CONNECTION_ERRORS, close, connect
from .metrics import Metrics
from .payload import JSON
from .protocol import EXCHANGE, Identity, Snapshot, State, build_report

REPORT_PERIOD_SECONDS: Final = 15
DRAINING_REPORT_PERIOD_SECONDS: Final = 5
RPC_TIMEOUT_SECONDS: Final = 10
CLOSE_TIMEOUT_SECONDS: Final = 1
"""Short: a broker with a memory alarm does not read from connections that publish, not even the close."""

DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"

_log = structlog.get_logger("control")


class ControlChannel:
    """The worker's side of the control protocol. Its failures never stop the consumers."""

    def __init__(
        self,
        source: BrokerSource,
        identity: Identity,
        snapshot: Callable[[], Snapshot],
        commands: CommandHandler,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._identity = identity
        self._snapshot = snapshot
        self._commands = commands
        self._metrics = metrics
        self._clock = asyncio.get_running_loop().time
        self._number = 0
        self._reported: Snapshot | None = None
        self._fault: str | None = None

    async def run(self) -> None:
        """Report and receive until cancelled; reconnect after each loss of the connection."""
        backoff = Backoff()
        while True:
            started_at = self._clock()
            try:
                await self._session()
            except CONNECTION_ERRORS as error:
                self._on_fault(error)
            except asyncio.CancelledError:
                if is_cancellation_requested():
                    raise
            except Exception as error:  # noqa: BLE001 - no failure of the control channel may stop the consumers
                self._on_fault(error)
            await asyncio.sleep(backoff.next_delay(self._clock() - started_at))

    async def _session(self) -> None:
        """From one connect to the loss of that connection."""
        connection = await connect(self._source, f"{self._identity.taskqueue} control")
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        try:
            while not lost.is_set():
                await run_unless(lost, self._report_on(connection))
        finally:
            await close(connection, timeout_seconds=CLOSE_TIMEOUT_SECONDS)

    async def _report_on(self, connection: AbstractConnection) -> None:
        """Report until the broker closes the channel, which it does while the exchange is not declared."""
        try:
            channel = await self._open_channel(connection)
            self._commands.answers.clear()
            while True:
                await self._report(channel)
                await self._wait_until_due()
        except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
            self._on_fault(error)
            await asyncio.sleep(REPORT_PERIOD_SECONDS)

    async def _open_channel(self, connection: AbstractConnection) -> AbstractChannel:
        channel = connection.channel()
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
            await replies.consume(self._on_message, no_ack=True)
        return channel

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self._commands.on_message(message.body)

    async def _report(self, channel: AbstractChannel) -> None:
        answers, snapshot = self._commands.answers, self._snapshot()
        self._number += 1
        body = build_report(self._identity, self._number, snapshot, answers.popleft() if answers else None)
        message = Message(
            body, content_type=JSON, delivery_mode=DeliveryMode.NOT_PERSISTENT, reply_to=DIRECT_REPLY_TO, type="report"
        )
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await exchange.publish(message, self._identity.taskqueue, mandatory=False)
        self._reported, self._fault = snapshot, None
        self._metrics.reports.inc()

    async def _wait_until_due(self) -> None:
        """Wait for an answer, an urgent change, or the end of the report period."""
        reported = self._reported
        is_draining = reported is not None and reported.state in {State.DRAINING, State.DRAINED}
        period = DRAINING_REPORT_PERIOD_SECONDS if is_draining else REPORT_PERIOD_SECONDS
        try:
            async with asyncio.timeout(period):
                while (
                    not self._commands.answers and reported is not None and self._snapshot().urgent == reported.urgent
                ):
                    self._commands.state_changed.clear()
                    await self._commands.state_changed.wait()
        except TimeoutError:
            return

    def _on_fault(self, error: Exception) -> None:
        reason = str(error) or "the broker did not answer"  # TimeoutError has no text
        if reason != self._fault:
            self._fault = reason
            _log.warning("control channel down", reason=reason)
