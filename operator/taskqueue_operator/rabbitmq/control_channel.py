"""The conversation with workers, on a connection for this alone: hears reports, sends commands.

What is said stands in `docs/control-protocol.md`; here it is only carried.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.lease import Guard

from . import faults
from .endpoint import Endpoint
from .handshake import HEARTBEAT_SECONDS

EXCHANGE: Final = "taskqueue.reports"
ANSWER_SECONDS: Final = 8.0
SEND_SECONDS: Final = 2.0
"""A broker with a memory alarm does not read what is sent to it."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0

# RuntimeError is how aiormq says that a channel or connection is closed, StopAsyncIteration that it was closed by the
# other side in the middle of the handshake.
_LOST: Final = (AMQPError, OSError, RuntimeError, TimeoutError, StopAsyncIteration)

Heard = Callable[[str, bytes, str], None]
"""Takes a report, and the address that commands reach its sender at."""


class ControlChannel:
    """Connected while there is somebody to listen to; what is lost in between is lost.

    Attributes:
        fault: Why nobody is heard at present, if so.
    """

    def __init__(self, endpoint: Endpoint, name: str, heard: Heard, guard: Guard | None = None) -> None:
        self.fault: BrokerFault | None = None
        self._endpoint = endpoint
        self._name = name
        self._heard = heard
        self._guard = guard
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._log = structlog.get_logger("control").bind(broker=endpoint.address, vhost=endpoint.vhost)

    def listen(self, taskqueues: Collection[str]) -> None:
        """Hear the workers of these TaskQueues, each as `namespace/name`, and of no others."""
        self._wanted = frozenset(taskqueues)
        self._changed.set()

    async def send(self, address: str, command: bytes) -> None:
        """Send a command; one that cannot be sent is lost, as others are on their way.

        Raises:
            Deposed: This process may not act any more.
        """
        if self._guard is not None:
            self._guard()
        channel = self._channel
        if channel is None:
            return
        message = aio_pika.Message(command, content_type="application/json")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await channel.default_exchange.publish(message, address, mandatory=False)
        except _LOST as error:
            self._log.info("command not sent", detail=faults.cause(error))

    async def run(self) -> None:
        """Listen until cancelled, and again after each loss of the connection."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, random.random)
        while True:
            await self._wait_for_somebody()
            began = _now()
            try:
                await self._session()
            except _LOST as error:
                self._fail(self._explain(error))
            except BrokerFault as fault:
                self._fail(fault)
            except asyncio.CancelledError:
                # aiormq ends the waits of a connection that closes with the reason of that, and it may be this one.
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                self._fail(faults.unreachable(self._endpoint, "connection closed"))
            await asyncio.sleep(backoff.next_delay(_now() - began))

    async def _wait_for_somebody(self) -> None:
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()

    async def _session(self) -> None:
        """From one connect to the loss of that connection."""
        connection = await self._connect()
        lost = asyncio.Event()

        def lose(*_: object) -> None:
            lost.set()
            self._changed.set()

        connection.close_callbacks.add(lose)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                channel = await connection.channel(publisher_confirms=False)
                channel.close_callbacks.add(lose)
                queue = await self._open(channel)
            self._channel, self.fault = channel, None
            await self._keep_bound(queue, lost)
            raise ConnectionError
        finally:
            self._channel = None
            async with asyncio.timeout(SEND_SECONDS):
                await connection.close()

    async def _connect(self) -> aio_pika.abc.AbstractConnection:
        endpoint = self._endpoint
        async with asyncio.timeout(ANSWER_SECONDS):
            return await aio_pika.connect(
                host=endpoint.host,
                port=endpoint.port,
                login=endpoint.username,
                password=endpoint.password,
                virtualhost=endpoint.vhost,
                ssl=endpoint.tls,
                ssl_context=endpoint.trust() if endpoint.tls else None,
                heartbeat=HEARTBEAT_SECONDS,
                client_properties={"connection_name": self._name},
            )

    async def _open(self, channel: AbstractChannel) -> AbstractQueue:
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.consume(self._take, no_ack=True)
        return queue

    async def _keep_bound(self, queue: AbstractQueue, lost: asyncio.Event) -> None:
        bound: frozenset[str] = frozenset()
        while not lost.is_set():
            self._changed.clear()
            wanted = self._wanted
            for name in wanted ^ bound:
                change = queue.bind if name in wanted else queue.unbind
                async with asyncio.timeout(ANSWER_SECONDS):
                    await change(EXCHANGE, name)
            bound = wanted
            if not lost.is_set() and wanted == self._wanted:
                await self._changed.wait()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        # The key is bound in this vhost alone: who is elsewhere speaks of no TaskQueue of this one.
        self._heard(message.routing_key or "", message.body, message.reply_to or "")

    def _explain(self, error: Exception) -> BrokerFault:
        if isinstance(error, ChannelAccessRefused):
            return faults.forbidden(self._endpoint, self._endpoint.username, f"talk with workers over {EXCHANGE}")
        return faults.unreachable(self._endpoint, faults.cause(error))

    def _fail(self, fault: BrokerFault) -> None:
        if self.fault is None or self.fault.message != fault.message:
            self._log.warning("workers are not heard", reason=fault.reason, detail=fault.message)
        self.fault = fault


def _now() -> float:
    return asyncio.get_running_loop().time()
