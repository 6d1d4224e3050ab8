"""Receives reports from workers and sends commands to them, on a connection of its own.

`docs/control-protocol.md` describes the messages; this module only transports them.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.lease import Guard

from . import faults
from .access import Access
from .bounded_connection import bounded_connection
from .clock import loop_time
from .login import AMQP

EXCHANGE: Final = "taskqueue.reports"
RPC_TIMEOUT_SECONDS: Final = 8.0
SEND_TIMEOUT_SECONDS: Final = 2.0
"""A broker with a memory alarm does not read what is sent to it."""
BACKOFF: Final = Backoff(first_seconds=0.5, longest_seconds=15.0)

# aiormq raises RuntimeError for a closed channel or connection, and StopAsyncIteration if the broker closes the
# connection during the handshake.
_CONNECTION_LOST: Final = (AMQPError, OSError, RuntimeError, TimeoutError, StopAsyncIteration)

OnReport = Callable[[str, bytes, str], None]
"""Receives the TaskQueue (`namespace/name`), the report, and the address for commands to its sender."""


class ControlChannel:
    """Connected while there are TaskQueues to listen for. Messages sent while it is disconnected are lost.

    Attributes:
        fault: Why no report can be received at present; None while connected, and before the first attempt.
    """

    def __init__(self, access: Access, name: str, on_report: OnReport, guard: Guard | None = None) -> None:
        self.fault: BrokerFault | None = None
        self._endpoint = endpoint = access.endpoint
        self._network = access.network
        self._login = access.login
        self._name = name
        self._on_report = on_report
        self._guard = guard
        self._taskqueues: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._log = structlog.get_logger("control").bind(broker=endpoint.address, vhost=endpoint.vhost)

    def listen(self, taskqueues: Collection[str]) -> None:
        """Receive the reports of these TaskQueues, each as `namespace/name`, and of no others."""
        self._taskqueues = frozenset(taskqueues)
        self._changed.set()

    async def send(self, address: str, command: bytes) -> None:
        """Send a command. It is dropped while disconnected: every command is sent again until its deadline.

        Raises:
            LeadershipLost: This process is not the leader.
        """
        if self._guard is not None:
            self._guard()
        channel = self._channel
        if channel is None:
            return
        message = aio_pika.Message(command, content_type="application/json")
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await channel.default_exchange.publish(message, address, mandatory=False)
        except _CONNECTION_LOST as error:
            self._log.info("command not sent", detail=faults.cause(error))

    async def run(self) -> None:
        """Listen until cancelled; reconnects after each loss of the connection."""
        failures = 0
        while True:
            await self._wait_for_taskqueues()
            started = loop_time()
            try:
                await self._session()
            except _CONNECTION_LOST as error:
                self._set_fault(self._explain(error))
            except BrokerFault as fault:
                self._set_fault(fault)
            except asyncio.CancelledError:
                # When a connection closes, aiormq cancels the tasks that wait on it, which may include this one.
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                self._set_fault(faults.unreachable(self._endpoint, "connection closed"))
            failures = 0 if loop_time() - started > BACKOFF.longest_seconds else failures + 1
            await asyncio.sleep(random.uniform(0, BACKOFF.seconds(failures)))  # noqa: S311  jitter

    async def _wait_for_taskqueues(self) -> None:
        while not self._taskqueues:
            self._changed.clear()
            await self._changed.wait()

    async def _session(self) -> None:
        """Connect, and listen until the connection is lost."""
        connection = await self._connect()
        lost = asyncio.Event()

        def on_close(*_: object) -> None:
            lost.set()
            self._changed.set()

        connection.close_callbacks.add(on_close)
        try:
            async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                channel = await connection.channel(publisher_confirms=False)
                channel.close_callbacks.add(on_close)
                queue = await self._consume(channel)
            self._channel, self.fault = channel, None
            await self._sync_bindings(queue, lost)
            raise ConnectionError
        finally:
            self._channel = None
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await connection.close()

    async def _connect(self) -> aio_pika.abc.AbstractConnection:
        self._login.check(AMQP)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            connection = await bounded_connection(self._network, self._endpoint, self._name)
        self._login.accepted(AMQP)
        return connection

    async def _consume(self, channel: AbstractChannel) -> AbstractQueue:
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.consume(self._on_message, no_ack=True)
        return queue

    async def _sync_bindings(self, queue: AbstractQueue, lost: asyncio.Event) -> None:
        """Bind the queue to the TaskQueues to listen for, after each change, until the connection is lost."""
        bound: frozenset[str] = frozenset()
        while not lost.is_set():
            self._changed.clear()
            desired = self._taskqueues
            for name in desired ^ bound:
                change = queue.bind if name in desired else queue.unbind
                async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                    await change(EXCHANGE, name)
            bound = desired
            if not lost.is_set() and desired == self._taskqueues:
                await self._changed.wait()

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        # The routing key is bound in this vhost only, so a worker of another vhost cannot report for this TaskQueue.
        self._on_report(message.routing_key or "", message.body, message.reply_to or "")

    def _explain(self, error: Exception) -> BrokerFault:
        if isinstance(error, ProbableAuthenticationError):
            refusal = faults.wrong_password(self._endpoint)
            self._login.refused(AMQP, refusal)
            return refusal
        if isinstance(error, ChannelAccessRefused):
            return faults.forbidden(self._endpoint, self._endpoint.username, f'use exchange "{EXCHANGE}"')
        return faults.unreachable(self._endpoint, faults.cause(error))

    def _set_fault(self, fault: BrokerFault) -> None:
        if self.fault is None or self.fault.message != fault.message:
            self._log.warning("control channel down", reason=fault.reason, detail=fault.message)
        self.fault = fault
