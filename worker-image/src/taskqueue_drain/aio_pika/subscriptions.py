"""Keeps one connection to the broker, and one consumer of each queue on it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aio_pika.abc import AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.abc import ConsumerCallback

from taskqueue_drain.aio import is_cancellation_requested, run_unless, sleep_unless
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, ConsumeSettings
from taskqueue_drain.protocol_log import log

from .connection import CONNECTION_ERRORS, close
from .consumer import Consumer, OnDelivery, consume
from .delivery import CHANNEL_ERRORS
from .runtime import AioPikaRuntime

CALL_TIMEOUT_SECONDS: Final = 10


class Subscriptions:
    """Connects and consumes, and repeats both with a backoff. A missing queue is never declared."""

    def __init__(
        self,
        settings: ConsumeSettings,
        runtime: AioPikaRuntime,
        connect: Callable[[], Coroutine[Any, Any, AbstractConnection]],
        on_delivery: OnDelivery,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._connect = connect
        self._on_delivery = on_delivery
        self._leaving = asyncio.Event()
        self._consumers: set[Consumer] = set()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Consume until the worker is leaving, and until its last task has ended."""
        backoff = Backoff()
        while not self._leaving.is_set():
            started_at = self._clock()
            try:
                await self._session()
                reason = "the connection is lost"
            except CONNECTION_ERRORS as error:
                reason = str(error) or repr(error)
            if not self._leaving.is_set():
                log.warning("not connected: %s", reason)
                await sleep_unless(self._leaving, backoff.next_delay(self._clock() - started_at))
        await self._runtime.wait_until_idle()

    def leave(self) -> None:
        """Consume no more: `run` returns after the last task."""
        self._leaving.set()
        for consumer in self._consumers:
            consumer.retire()

    async def _session(self) -> None:
        """From one connect to the loss of that connection, or to the end of the last task after SIGTERM."""
        connection = await run_unless(self._leaving, self._connect())
        if connection is None:
            return
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        try:
            await run_unless(lost, self._consume_all(connection))
            if not lost.is_set():
                await run_unless(lost, self._runtime.wait_until_idle())
        finally:
            await close(connection)

    async def _consume_all(self, connection: AbstractConnection) -> None:
        async with asyncio.TaskGroup() as group:
            for queue in self._settings.queues:
                group.create_task(self._consume(connection, queue))

    async def _consume(self, connection: AbstractConnection, queue: str) -> None:
        """Consume a queue, on a further channel after each end of one, until the worker is leaving."""
        backoff = Backoff()
        arguments: dict[str, Any] = {CONSUMER_TIMEOUT: self._settings.consumer_timeout_ms}
        while not self._leaving.is_set():
            started_at = self._clock()
            try:
                await self._consume_on_channel(connection, queue, arguments)
            except (*CHANNEL_ERRORS, asyncio.CancelledError) as error:
                if is_cancellation_requested():
                    raise
                log.warning("queue %s: %s", queue, str(error) or repr(error))
            await sleep_unless(self._leaving, backoff.next_delay(self._clock() - started_at))

    async def _consume_on_channel(self, connection: AbstractConnection, name: str, arguments: dict[str, Any]) -> None:
        channel = connection.channel(publisher_confirms=False)
        closed = asyncio.Event()
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            await channel.initialize()
            channel.close_callbacks.add(lambda *_: closed.set())
            await channel.set_qos(prefetch_count=self._settings.prefetch)
            queue = await channel.get_queue(name, ensure=False)

        async def begin(receive: ConsumerCallback) -> str:
            return await _begin(queue, receive, arguments)

        consumer = Consumer(queue, begin, queue.cancel, self._on_delivery, self._runtime.changed.set)
        self._consumers.add(consumer)
        self._runtime.add(consumer)
        try:
            if not self._leaving.is_set():
                await run_unless(closed, consumer.follow())
        finally:
            self._consumers.discard(consumer)
            self._runtime.remove(consumer)


async def _begin(queue: AbstractQueue, receive: ConsumerCallback, arguments: dict[str, Any]) -> str:
    """Consume, from now on without a consumer timeout where RabbitMQ refuses it (4.3, classic queues: none there)."""
    try:
        return await consume(queue, receive, arguments=dict(arguments))
    except ChannelPreconditionFailed as error:
        if CONSUMER_TIMEOUT in str(error):
            arguments.pop(CONSUMER_TIMEOUT, None)
        raise
