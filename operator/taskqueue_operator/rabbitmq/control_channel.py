"""Receives reports from workers and sends commands to them, on a connection of its own.

`docs/control-protocol.md` describes the messages; this module only transports them.
"""

import asyncio
import random
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractQueue
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from taskqueue_operator.cancellation import is_cancelling
from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.lease import Guard
from taskqueue_operator.resource.names import CONTROL_EXCHANGE

from . import faults
from .access import Access
from .bounded_connection import CONNECTION_LOST, bounded_connection
from .clock import loop_time
from .login import AMQP
from .report_queue import OnReport, ReportQueue
from .turns import Turns

EXCHANGE: Final = CONTROL_EXCHANGE
RPC_TIMEOUT_SECONDS: Final = 8.0
SEND_TIMEOUT_SECONDS: Final = 2.0
"""A broker with a memory alarm does not read what is sent to it."""
SEND_TOGETHER: Final = 32
"""Commands that are sent before the broker has to have read the first of them."""
BACKOFF: Final = Backoff(first_seconds=0.5, longest_seconds=15.0)


class ControlChannel:
    """Connected while there are TaskQueues to listen for. Messages sent while it is disconnected are lost.

    Attributes:
        fault: Why no report can be received at present; None while connected, and before the first attempt.
    """

    def __init__(
        self, access: Access, name: str, on_report: OnReport, turns: Turns, guard: Guard | None = None
    ) -> None:
        self.fault: BrokerFault | None = None
        self._endpoint = endpoint = access.endpoint
        self._network = access.network
        self._login = access.login
        self._name = name
        self._guard = guard
        self._taskqueues: set[str] = set()
        self._unsynced: set[str] = set()
        self._unbound: set[str] = set()
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._log = structlog.get_logger("control").bind(broker=endpoint.address, vhost=endpoint.vhost)
        self._reports = ReportQueue(self._taskqueues, on_report, partial(turns.wait, endpoint.namespace), self._log)

    def listen(self, taskqueue: str, *, enabled: bool) -> None:
        """Receive the reports of a TaskQueue (`namespace/name`), or no longer."""
        if enabled:
            self._taskqueues.add(taskqueue)
        else:
            self._taskqueues.discard(taskqueue)
        self._unsynced.add(taskqueue)
        self._changed.set()

    def restore(self, taskqueues: Collection[str]) -> None:
        """Declare the exchange again, and bind again the TaskQueues that are listened for: bindings are missing."""
        self._unbound |= set(taskqueues)
        self._changed.set()

    async def send(self, commands: Sequence[tuple[str, bytes]]) -> None:
        """Send commands in order. They are dropped while disconnected: every command is sent again until its deadline.

        Raises:
            LeadershipLost: This process is not the leader.
        """
        for begin in range(0, len(commands), SEND_TOGETHER):
            together = commands[begin : begin + SEND_TOGETHER]
            try:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await self._send_together(together)
            except CONNECTION_LOST as error:
                self._log.info("commands not sent", number=len(commands) - begin, detail=faults.cause(error))
                return

    async def _send_together(self, commands: Sequence[tuple[str, bytes]]) -> None:
        """Send commands, and wait until the broker reads the last of them: for each one, it would take too long."""
        for number, (address, command) in enumerate(commands, 1):
            if self._guard is not None:
                self._guard()
            if self._channel is None:
                return
            channel = await self._channel.get_underlay_channel()
            properties = aio_pika.Message(command, content_type="application/json").properties
            await channel.basic_publish(  # type: ignore[call-arg]  # its abstract class lacks `wait`
                command, routing_key=address, properties=properties, wait=number == len(commands)
            )

    async def run(self) -> None:
        """Listen until cancelled; reconnects after each loss of the connection."""
        failures = 0
        while True:
            await self._wait_for_taskqueues()
            started = loop_time()
            try:
                await self._session()
            except CONNECTION_LOST as error:
                self._set_fault(self._explain(error))
            except BrokerFault as fault:
                self._set_fault(fault)
            except asyncio.CancelledError:
                # When a connection closes, aiormq cancels the tasks that wait on it, which may include this one.
                if is_cancelling():
                    raise
                self._set_fault(faults.unreachable(self._endpoint, "connection closed"))
            except Exception as error:  # noqa: BLE001  what the library raises on answers of a peer that is no broker
                # Not its text, which may quote anything. An error that ends here would end all reads of the broker.
                self._set_fault(faults.unreachable(self._endpoint, f"unexpected answer, {type(error).__name__}"))
            if is_cancelling():  # libraries may replace a cancellation by the error that ended what they waited for
                raise asyncio.CancelledError
            failures = 0 if loop_time() - started > BACKOFF.longest_seconds else failures + 1
            await asyncio.sleep(random.uniform(0, BACKOFF.seconds(failures)))  # noqa: S311  jitter

    async def _wait_for_taskqueues(self) -> None:
        while not self._taskqueues:
            self._changed.clear()
            await self._changed.wait()

    async def _session(self) -> None:
        """Connect, and listen until the connection is lost."""
        connection = await self._connect()
        self._lost = asyncio.Event()
        connection.close_callbacks.add(self._on_close)
        acknowledging: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                channel = await connection.channel(publisher_confirms=False)
                channel.close_callbacks.add(self._on_close)
                await _declare_exchange(channel)
                queue = await self._reports.consume(channel)
            self._channel, self.fault = channel, None
            acknowledging = asyncio.create_task(self._acknowledge(channel))
            await self._sync_bindings(channel, queue)
            raise ConnectionError
        finally:
            self._channel = None
            if acknowledging is not None:
                acknowledging.cancel()
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await connection.close()

    def _on_close(self, *_: object) -> None:
        self._lost.set()
        self._changed.set()

    async def _connect(self) -> aio_pika.abc.AbstractConnection:
        self._login.check(AMQP)
        await self._network.turn_to_connect(self._endpoint.namespace, tls=self._endpoint.tls)
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            connection = await bounded_connection(self._network, self._endpoint, self._name)
        self._login.accepted(AMQP)
        return connection

    async def _sync_bindings(self, channel: AbstractChannel, queue: AbstractQueue) -> None:
        """Bind the queue to the TaskQueues to listen for, after each change, until the connection is lost."""
        bound: set[str] = set()
        self._unsynced, self._unbound = set(self._taskqueues), set()
        while not self._lost.is_set():
            self._changed.clear()
            if self._unbound:
                await self._unbind_missing(channel, queue, bound)
            while self._unsynced and not self._lost.is_set():
                name = self._unsynced.pop()
                if (name in self._taskqueues) != (name in bound):
                    await _change_binding(queue, name, bound)
            if not self._lost.is_set():
                await self._changed.wait()

    async def _unbind_missing(self, channel: AbstractChannel, queue: AbstractQueue, bound: set[str]) -> None:
        """Declare the exchange again, and unbind what is missing, so that each binding is new.

        RabbitMQ 4.3.6 may list a binding, but not route by it, after its exchange was deleted while the queue was bound
        to it. A second bind changes nothing then.
        """
        self._log.info("bindings for reports are missing, restoring them", exchange=EXCHANGE)
        unbound, self._unbound = self._unbound, set()
        self._unsynced |= unbound
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            await _declare_exchange(channel)
        for name in unbound & bound:
            await _change_binding(queue, name, bound)

    async def _acknowledge(self, channel: AbstractChannel) -> None:
        await self._reports.acknowledge(channel)
        self._on_close()

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


async def _declare_exchange(channel: AbstractChannel) -> None:
    await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)


async def _change_binding(queue: AbstractQueue, name: str, bound: set[str]) -> None:
    """Unbind the queue from a TaskQueue that it is bound to, or bind it."""
    change = queue.unbind if name in bound else queue.bind
    bound ^= {name}
    async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
        await change(EXCHANGE, name)
