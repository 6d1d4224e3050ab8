"""Reports to the operator and hears its commands: docs/control-protocol.md, on a connection for this alone."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from .aio import cancelled_by_us, run_unless
from .backoff import Backoff
from .broker import BrokerSource
from .command_handler import CommandHandler
from .connection import FAILURES, close, connect
from .delivery import JSON
from .metrics import Metrics
from .protocol import EXCHANGE, Facts, Identity, State, report

PERIOD_SECONDS: Final = 15
DRAINING_PERIOD_SECONDS: Final = 5
RPC_TIMEOUT_SECONDS: Final = 10
CLOSE_TIMEOUT_SECONDS: Final = 1
"""A broker with a memory alarm does not read what a publisher sends, not even that it goes."""

REPLIES: Final = "amq.rabbitmq.reply-to"

log = structlog.get_logger(__name__)


class ControlChannel:
    """The worker's side of the conversation. Whatever becomes of it, the worker works on."""

    def __init__(
        self,
        source: BrokerSource,
        identity: Identity,
        facts: Callable[[], Facts],
        orders: CommandHandler,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._identity = identity
        self._facts = facts
        self._orders = orders
        self._metrics = metrics
        self._clock = asyncio.get_running_loop().time
        self._number = 0
        self._reported: State | None = None
        self._trouble: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff()
        while True:
            began = self._clock()
            try:
                await self._session()
            except FAILURES as error:
                self._unheard(error)
            except asyncio.CancelledError:
                if cancelled_by_us():
                    raise
            except Exception as error:  # noqa: BLE001 - nothing that goes wrong here is a reason not to work
                self._unheard(error)
            await asyncio.sleep(backoff.after(self._clock() - began))

    async def _session(self) -> None:
        """From one connect to the loss of that connection."""
        connection = await connect(self._source, f"{self._identity.taskqueue} control")
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        try:
            while not lost.is_set():
                await run_unless(lost, self._converse(connection))
        finally:
            await close(connection, timeout_seconds=CLOSE_TIMEOUT_SECONDS)

    async def _converse(self, connection: AbstractConnection) -> None:
        """Until the broker closes the channel, as it does while no operator has declared the exchange."""
        try:
            channel = await self._listen(connection)
            self._orders.answers.clear()
            while True:
                await self._send(channel)
                await self._due()
        except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
            self._unheard(error)
            await asyncio.sleep(PERIOD_SECONDS)

    async def _listen(self, connection: AbstractConnection) -> AbstractChannel:
        channel = connection.channel()
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            replies = await channel.get_queue(REPLIES, ensure=False)
            await replies.consume(self._on_message, no_ack=True)
        return channel

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self._orders.take(message.body)

    async def _send(self, channel: AbstractChannel) -> None:
        answers, facts = self._orders.answers, self._facts()
        self._number += 1
        body = report(self._identity, self._number, facts, answers.popleft() if answers else None)
        message = Message(
            body, content_type=JSON, delivery_mode=DeliveryMode.NOT_PERSISTENT, reply_to=REPLIES, type="report"
        )
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await exchange.publish(message, self._identity.taskqueue, mandatory=False)
        self._reported, self._trouble = facts.state, None
        self._metrics.reports.inc()

    async def _due(self) -> None:
        """Wait until there is something to report."""
        is_draining = self._reported in {State.DRAINING, State.DRAINED}
        period = DRAINING_PERIOD_SECONDS if is_draining else PERIOD_SECONDS
        try:
            async with asyncio.timeout(period):
                while not self._orders.answers and self._facts().state is self._reported:
                    self._orders.news.clear()
                    await self._orders.news.wait()
        except TimeoutError:
            return

    def _unheard(self, error: Exception) -> None:
        reason = str(error) or "no answer of the broker"  # TimeoutError has no text
        if reason != self._trouble:
            self._trouble = reason
            log.warning("the operator does not hear this worker", reason=reason)
