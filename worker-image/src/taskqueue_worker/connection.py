"""Keeps one connection to the broker, and the subscriptions on it, until the worker leaves."""

import asyncio
from contextlib import suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import InvalidFrameError

from .aio import pause, run_unless
from .backoff import Backoff
from .broker import CONNECT_TIMEOUT_SECONDS, BrokerError, BrokerSource
from .consume_gate import ConsumeGate
from .metrics import Metrics
from .subscription import Subscription

CLOSE_TIMEOUT_SECONDS = 5
# The last is what aiormq raises when the other side closes in the middle of the handshake.
FAILURES = (AMQPError, OSError, RuntimeError, BrokerError, StopAsyncIteration)

log = structlog.get_logger(__name__)


async def connect(source: BrokerSource, name: str) -> AbstractConnection:
    """Open a connection with the credentials of this moment.

    Raises:
        BrokerError, AMQPError, OSError: there is none to be had; the text holds no secret.
    """
    broker = source.read()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            connection: AbstractConnection = await aio_pika.connect(**broker.connect_arguments(name))
            return connection
    except InvalidFrameError as error:
        # How aiormq reports a broker that says goodbye instead of opening the vhost.
        raise BrokerError(
            f"The broker refused vhost {broker.vhost!r}: it does not exist, or {broker.username!r} may not use it."
        ) from error
    except TimeoutError as error:
        raise BrokerError(f"No answer from {broker.address} within {CONNECT_TIMEOUT_SECONDS} s.") from error


async def close(connection: AbstractConnection, *, timeout_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
    """Close in good order. A connection that is dead already is no error."""
    with suppress(*FAILURES, asyncio.CancelledError):
        async with asyncio.timeout(timeout_seconds):
            await connection.close()


class Supervisor:
    """Connects, subscribes, and does both again with backoff when the connection is lost."""

    def __init__(
        self,
        source: BrokerSource,
        name: str,
        subscriptions: list[Subscription],
        metrics: Metrics,
        intake: ConsumeGate,
    ) -> None:
        self._source = source
        self._name = name
        self._subscriptions = subscriptions
        self._metrics = metrics
        self._leaving = intake.leaving
        self._connection: AbstractConnection | None = None
        self._sessions = 0
        metrics.watch("consuming", lambda: sum(subscription.consuming for subscription in subscriptions))

    @property
    def consuming(self) -> bool:
        """Every queue is being consumed."""
        return all(subscription.consuming for subscription in self._subscriptions)

    @property
    def is_quiet(self) -> bool:
        """It is certain that nothing more comes, unless the intake opens."""
        return all(subscription.is_quiet for subscription in self._subscriptions)

    async def quiet(self) -> None:
        """Wait until it is. To be called while the intake is shut."""
        await asyncio.gather(*(subscription.quiet() for subscription in self._subscriptions))

    async def run(self) -> None:
        """Until the worker leaves. The connection then stays open, so that what still runs can be settled."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while not self._leaving.is_set():
            began = clock()
            try:
                await self._session()
                reason = "connection lost"
            except FAILURES as error:
                reason = str(error) or repr(error)
            if not self._leaving.is_set():
                delay = backoff.after(clock() - began)
                log.warning("not connected", reason=reason, retry_in_seconds=round(delay, 3))
                await pause(self._leaving, delay)

    async def close(self) -> None:
        """Close the connection, if there is one. What was settled before has reached the broker then."""
        if self._connection is None:
            return
        for subscription in self._subscriptions:
            await subscription.close()
        await close(self._connection)

    async def _session(self) -> None:
        """From one connect to the loss of that connection, or to leaving."""
        connection = await run_unless(self._leaving, connect(self._source, self._name))
        if connection is None:
            return
        self._connection = connection
        self._sessions += 1
        if self._sessions > 1:
            self._metrics.reconnects.inc()
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        log.info("connected", sessions=self._sessions)
        await run_unless(lost, self._consume(connection))
        if lost.is_set():
            for subscription in self._subscriptions:
                subscription.forget()
            await close(connection)
            self._connection = None

    async def _consume(self, connection: AbstractConnection) -> None:
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions:
                group.create_task(subscription.run(connection))
