"""Keeps one connection to the broker, and the subscriptions on it, until the worker is leaving."""

import asyncio
from contextlib import suppress

import structlog

from taskqueue_drain.aio import run_unless, sleep_unless
from taskqueue_drain.aio_pika.connection import CONNECTION_ERRORS, close, connect_as
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.broker import BrokerSource

from .amqp.connection import Connection
from .consume_gate import ConsumeGate
from .consume_proof import ConsumeProof
from .consumer import RPC_TIMEOUT_SECONDS
from .metrics import Metrics
from .subscription import Subscription

_log = structlog.get_logger("connection")


class Supervisor:
    """Connects and subscribes, and repeats both with backoff after each loss of the connection."""

    def __init__(  # noqa: PLR0913 - the parts of a connection
        self,
        source: BrokerSource,
        name: str,
        subscriptions: list[Subscription],
        proof: ConsumeProof,
        *,
        metrics: Metrics,
        gate: ConsumeGate,
    ) -> None:
        """`proof` has the same subscriptions."""
        self._source = source
        self._name = name
        self._subscriptions = subscriptions
        self._proof = proof
        self._metrics = metrics
        self._leaving = gate.leaving
        self._connection: Connection | None = None
        self._sessions = 0
        metrics.add_gauge("prefetch", lambda: sum(subscription.prefetch for subscription in subscriptions))
        metrics.add_gauge("consuming", lambda: sum(subscription.consuming for subscription in subscriptions))

    @property
    def consuming(self) -> bool:
        """Whether every queue has a consumer of this worker."""
        return all(subscription.consuming for subscription in self._subscriptions)

    @property
    def is_quiet(self) -> bool:
        """Whether no message can arrive any more until the gate opens."""
        return all(subscription.consumers.is_quiet for subscription in self._subscriptions)

    async def wait_until_quiet(self) -> None:
        """Wait until no message can arrive any more, at most for the time that the broker has for an answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
                for subscription in self._subscriptions:
                    await subscription.consumers.wait_until_quiet()

    async def run(self) -> None:
        """Consume until the worker is leaving. The connection stays open, so that running tasks can be settled."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while not self._leaving.is_set():
            started_at = clock()
            try:
                await self._session()
                reason = "connection lost"
            except CONNECTION_ERRORS as error:
                reason = str(error) or repr(error)
            if not self._leaving.is_set():
                delay = backoff.next_delay(clock() - started_at)
                _log.warning("not connected", reason=reason, retry_in_seconds=round(delay, 3))
                await sleep_unless(self._leaving, delay)

    async def close(self) -> None:
        """Close the connection, if any. The broker has then processed every settlement that was sent before."""
        if self._connection is None:
            return
        for subscription in self._subscriptions:
            await subscription.consumers.close()
        await close(self._connection)

    async def _session(self) -> None:
        """From one connect to the loss of that connection, or to the shutdown of the worker."""
        connection = await run_unless(self._leaving, connect_as(Connection, self._source, self._name))
        if connection is None:
            return
        self._connection = connection
        self._sessions += 1
        if self._sessions > 1:
            self._metrics.reconnects.inc()
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        _log.info("connected", sessions=self._sessions)
        await run_unless(lost, self._consume(connection))
        if lost.is_set():
            for subscription in self._subscriptions:
                subscription.on_connection_lost()
            await close(connection)
            self._connection = None

    async def _consume(self, connection: Connection) -> None:
        proof = asyncio.ensure_future(self._proof.run(connection))
        try:
            async with asyncio.TaskGroup() as group:
                for subscription in self._subscriptions:
                    group.create_task(subscription.run(connection))
        finally:
            proof.cancel()
