"""Consumes one queue for as long as the connection stands and the intake is open."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed

from .aio import cancelled_by_us, pause, run_unless
from .backoff import Backoff
from .consume_gate import ConsumeGate
from .consumer import LOST, RPC_TIMEOUT_SECONDS, Consumer
from .settings import Settings
from .worker import Worker

CONSUMER_TIMEOUT = "x-consumer-timeout"

log = structlog.get_logger(__name__)


class Subscription:
    """One queue. It is never declared: a queue that is not there is waited for."""

    def __init__(self, queue: str, settings: Settings, worker: Worker, intake: ConsumeGate) -> None:
        self.queue = queue
        self._settings = settings
        self._worker = worker
        self._intake = intake
        self._arguments: dict[str, Any] = {}
        self._consumers: list[Consumer] = []
        """The present one, and former ones: what they brought may still run, and is settled on their channels."""
        self._beside: set[asyncio.Task[None]] = set()
        self.consuming = False
        """The broker has this worker as a consumer of the queue."""

    @property
    def is_quiet(self) -> bool:
        """It is certain that nothing more comes, unless the intake opens."""
        return all(consumer.gone.is_set() for consumer in self._consumers)

    async def quiet(self) -> None:
        """Wait until it is. To be called while the intake is shut."""
        await asyncio.gather(*(consumer.gone.wait() for consumer in self._consumers))

    async def run(self, connection: AbstractConnection) -> None:
        """Consume, and again whenever that ends, until the worker leaves. Cancelled with the connection."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        self._arguments = {CONSUMER_TIMEOUT: self._settings.consumer_timeout_ms}
        while await self._may_consume():
            began = clock()
            try:
                if await self._consume(connection):
                    continue
                reason = "the broker ended the consumer"
            except LOST as error:
                reason = str(error) or repr(error)
                if self._can_do_without(error):
                    continue
            except asyncio.CancelledError:
                if cancelled_by_us():
                    raise
                reason = "the channel closed"
            if self._intake.open.is_set():
                delay = backoff.after(clock() - began)
                log.warning("not consuming", queue=self.queue, reason=reason, retry_in_seconds=round(delay, 3))
                await pause(self._intake.shut, delay)

    def forget(self) -> None:
        """The connection is lost, and all that was on it."""
        for consumer in self._consumers:
            consumer.forget()
        self._consumers.clear()

    async def close(self) -> None:
        """Close every channel, after which the broker has taken every settlement sent before."""
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))

    def _can_do_without(self, error: Exception) -> bool:
        """RabbitMQ 4.3 refuses a consumer timeout for classic queues, which never time out there."""
        refused = isinstance(error, ChannelPreconditionFailed) and CONSUMER_TIMEOUT in str(error)
        return refused and self._arguments.pop(CONSUMER_TIMEOUT, None) is not None

    async def _may_consume(self) -> bool:
        """Wait until the intake is open. False: it never will be again."""
        await run_unless(self._intake.leaving, self._intake.open.wait())
        return not self._intake.leaving.is_set()

    async def _consume(self, connection: AbstractConnection) -> bool:
        """Until the broker ends it or the intake shuts; then what has not started goes back to the queue.

        Whether it was the intake.
        """
        self._let_go()
        tag = f"{self._settings.name}-{uuid4().hex[:12]}"
        consumer = await Consumer.open(connection, self.queue, tag, self._settings.prefetch, self._intake.news)
        self._consumers.append(consumer)
        try:
            if not self._intake.shut.is_set():
                await consumer.start(self._worker.receive, self._arguments)
                self.consuming = True
                self._intake.news.set()
                log.info("consuming", queue=self.queue, prefetch=self._settings.prefetch, arguments=self._arguments)
                await run_unless(self._intake.shut, consumer.ended.wait())
        finally:
            stopping = self._start_beside(self._stop(consumer))
        stopped = asyncio.wait({stopping}, timeout=RPC_TIMEOUT_SECONDS)
        if consumer.ended.is_set():
            await stopped
            return False
        await run_unless(self._intake.open, stopped)
        return True

    async def _stop(self, consumer: Consumer) -> None:
        was_consuming, self.consuming = self.consuming, False
        self._intake.news.set()
        await consumer.cancel()
        returned = await self._worker.give_back(lambda delivery: delivery.message.consumer_tag == consumer.tag)
        if was_consuming:
            log.info("stopped consuming", queue=self.queue, requeued=returned)
        await consumer.make_certain()

    def _let_go(self) -> None:
        """Close the channels of former consumers of which nothing runs any more."""
        for consumer in [consumer for consumer in self._consumers if self._is_done_with(consumer)]:
            self._consumers.remove(consumer)
            self._start_beside(consumer.close())

    def _is_done_with(self, consumer: Consumer) -> bool:
        held = self._worker.holds(lambda delivery: delivery.message.consumer_tag == consumer.tag)
        return consumer.gone.is_set() and (consumer.channel.is_closed or not held)

    def _start_beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task
