"""The control channel of a runtime on asyncio: carries reports and commands over a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from . import worker_protocol
from .aio import is_cancellation_requested, run_unless
from .backoff import Backoff
from .protocol import CONTENT_TYPE, DIRECT_REPLY_TO, EXCHANGE
from .runtime import Observer
from .worker_protocol import WorkerProtocol

RPC_TIMEOUT_SECONDS: Final = 10
FLUSH_TIMEOUT_SECONDS: Final = 2
"""Short: the end of a worker waits for it, and during a memory alarm nothing is published."""
CLOSE_TIMEOUT_SECONDS: Final = 1
"""Short: a broker with a memory alarm does not read from connections that publish, not even the close."""


class ControlChannel:
    """Drives the protocol on the event loop of the runtime. Its failures never stop the consumers.

    Attributes:
        connected_at: When the connection was opened; None without a connection. Seconds of the event loop's clock.
    """

    def __init__(
        self,
        protocol: WorkerProtocol,
        connect: Callable[[], Awaitable[AbstractConnection]],
        changed: asyncio.Event,
        observer: Observer,
    ) -> None:
        """Connect nothing yet.

        Args:
            protocol: The protocol to drive.
            connect: Opens a connection that reports and commands share with nothing else.
            changed: The runtime sets it whenever something of it may have changed. The channel clears it.
            observer: Learns of reports and faults.
        """
        self._protocol = protocol
        self._connect = connect
        self._changed = changed
        self._observer = observer
        self._clock = asyncio.get_running_loop().time
        self._report_due = asyncio.Event()
        self._is_reported = asyncio.Event()
        self._fault: str | None = None
        self.connected_at: float | None = None

    async def run(self) -> None:
        """Report and receive until cancelled; reconnect after each loss of the connection."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_time())
            group.create_task(self._stay_connected())

    async def flush(self) -> None:
        """Wait until all that has changed is reported, if there is a connection."""
        if self.connected_at is not None:
            self._is_reported.clear()
            self._report_due.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                    await self._is_reported.wait()

    def receive(self, body: bytes) -> None:
        """A message arrived on the control channel."""
        self._protocol.receive(body, self._clock())
        self._changed.set()

    async def _keep_time(self) -> None:
        """Let the protocol do what is due, also without a connection."""
        while True:
            self._changed.clear()
            self._protocol.advance(self._clock())
            if self._protocol.is_report_due(self._clock()):
                self._report_due.set()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._protocol.next_at(self._clock())):
                    await self._changed.wait()

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        while not is_cancellation_requested():  # `_close` may have taken the cancellation
            started_at = self._clock()
            try:
                await self._session()
            except asyncio.CancelledError:
                if is_cancellation_requested():
                    raise
            except Exception as error:  # noqa: BLE001 - no failure of the control channel may stop the consumers
                self._on_fault(error)
            if not is_cancellation_requested():
                await asyncio.sleep(backoff.next_delay(self._clock() - started_at))

    async def _session(self) -> None:
        """From one connect to the loss of that connection."""
        connection = await self._connect()
        self.connected_at = self._clock()
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        try:
            while not lost.is_set():
                await run_unless(lost, self._report_on(connection))
        finally:
            self.connected_at = None
            await _close(connection)

    async def _report_on(self, connection: AbstractConnection) -> None:
        """Report until the broker closes the channel, which it does while the exchange is not declared."""
        try:
            channel = await self._open_channel(connection)
            self._protocol.begin_channel()
            while True:
                self._report_due.clear()
                if self._protocol.is_report_due(self._clock()):
                    await self._report(channel)
                else:
                    self._is_reported.set()
                    await self._report_due.wait()
        except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
            self._on_fault(error)
            await asyncio.sleep(worker_protocol.REPORT_PERIOD_SECONDS)

    async def _open_channel(self, connection: AbstractConnection) -> AbstractChannel:
        channel = connection.channel()
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await channel.initialize()
            replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
            await replies.consume(self._on_message, no_ack=True)
        return channel

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self.receive(message.body)

    async def _report(self, channel: AbstractChannel) -> None:
        message = Message(
            self._protocol.report(self._clock()),
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
            reply_to=DIRECT_REPLY_TO,
            type="report",
        )
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await exchange.publish(message, self._protocol.identity.taskqueue, mandatory=False)
        self._fault = None
        self._changed.set()  # the time of the next report has changed
        self._observer.reported()

    def _on_fault(self, error: Exception) -> None:
        reason = str(error) or "the broker did not answer"  # TimeoutError has no text
        if reason != self._fault:
            self._fault = reason
            self._observer.disconnected(reason)


async def _close(connection: AbstractConnection) -> None:
    """Close the connection gracefully. A connection that is already lost is no error."""
    with suppress(AMQPError, OSError, RuntimeError, asyncio.CancelledError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await connection.close()
