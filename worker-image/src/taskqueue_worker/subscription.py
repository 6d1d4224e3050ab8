"""Consumes one queue while the connection is up and the consume gate is open."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final
from uuid import uuid4

import structlog
from aio_pika.exceptions import ChannelPreconditionFailed

from taskqueue_drain.aio import is_cancellation_requested, run_unless, sleep_unless
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, ConsumeSettings

from .amqp.connection import Connection
from .consume_gate import ConsumeGate
from .consumer import CHANNEL_ERRORS, RPC_TIMEOUT_SECONDS, Consumer
from .consumers import Consumers
from .prefetch import Prefetch
from .worker import Worker

LONGEST_WAIT_SECONDS: Final = 10.0
"""How long a prefetched message waits for a slot before its worker returns it and prefetches less: other workers may be
idle. A prefetch above the concurrency is for tasks that are much shorter."""
WAIT_CHECK_SECONDS: Final = 1.0
START_CHECK_SECONDS: Final = 0.05
LONGEST_TURN_SECONDS: Final = 0.05
"""How long the queue that was served last leaves a free slot to the other queues of a worker."""

_log = structlog.get_logger("subscription")


class Subscription:
    """The consumers of one queue, one after another. A missing queue is never declared: the subscription retries.

    Attributes:
        queue: Name of the queue.
        consumers: The current consumer and former ones.
        consuming: Whether the broker has a consumer of this worker on the queue, or will have one once a slot is free.
    """

    def __init__(self, queue: str, name: str, settings: ConsumeSettings, worker: Worker, gate: ConsumeGate) -> None:
        """`name` is what the consumer tags begin with."""
        self.queue = queue
        self._name = name
        self._settings = settings
        self._worker = worker
        self._gate = gate
        self._clock = asyncio.get_running_loop().time
        self._prefetch = Prefetch(
            settings.prefetch, settings.concurrency, queues=len(settings.queues), is_auto=settings.is_prefetch_auto
        )
        self._is_adapting = False
        self._arguments: dict[str, Any] = {}
        self.consumers = Consumers(worker)
        self._background_tasks: set[asyncio.Task[object]] = set()
        self._awaits_slot = False
        self.consuming = False

    @property
    def prefetch(self) -> int:
        """Messages of the queue that this worker may hold."""
        return self._prefetch.count

    async def run(self, connection: Connection) -> None:
        """Consume, again after each end of the consumer, until the worker is leaving. Cancelled with the connection."""
        backoff, clock = Backoff(), self._clock
        self._arguments = {CONSUMER_TIMEOUT: self._settings.consumer_timeout_ms}
        while await self._may_consume():
            started_at = clock()
            try:
                if await self._consume(connection):
                    continue
                reason = "the broker cancelled the consumer"
            except CHANNEL_ERRORS as error:
                reason = str(error) or repr(error)
                if self._drops_refused_timeout(error):
                    continue
            except asyncio.CancelledError:
                if is_cancellation_requested():
                    raise
                reason = "the channel was closed"
            if self._gate.opened.is_set():
                delay = backoff.next_delay(clock() - started_at)
                _log.warning("not consuming", queue=self.queue, reason=reason, retry_in_seconds=round(delay, 3))
                await sleep_unless(self._gate.closed, delay)

    def on_connection_lost(self) -> None:
        """The connection is lost, with all its channels."""
        self.consumers.on_connection_lost()
        self._awaits_slot = self.consuming = False

    async def _wait_for_end(self, consumer: Consumer) -> None:
        """Wait until the broker ends the consumer, or until another one replaces it: what waits too long goes back.

        One with a smaller prefetch follows then, or one for other task times. A worker of several queues
        whose slots are all taken for long consumes none of them until a slot is free: then each queue may have it.
        """
        has_others = len(self._settings.queues) > 1
        while self._prefetch.may_change or has_others:
            await sleep_unless(consumer.ended, WAIT_CHECK_SECONDS)
            if consumer.ended.is_set():
                return
            if self._reduces_prefetch() or self._adapts_prefetch():
                return
            if has_others and self._worker.is_full_for(LONGEST_WAIT_SECONDS):
                self._awaits_slot = True
                _log.info("waiting for a free slot", queue=self.queue)
                return
        await consumer.ended.wait()

    def _reduces_prefetch(self) -> bool:
        if self._worker.longest_wait_seconds < LONGEST_WAIT_SECONDS or not self._prefetch.reduce(self._clock()):
            return False
        _log.warning("prefetch reduced", queue=self.queue, prefetch=self.prefetch)
        self._awaits_slot = True
        return True

    def _adapts_prefetch(self) -> bool:
        self._is_adapting = self._prefetch.observe(self._clock(), *self._worker.totals())
        if self._is_adapting:
            seconds = round(self._prefetch.task_seconds, 4)
            _log.info("prefetch adapted", queue=self.queue, prefetch=self.prefetch, task_seconds=seconds)
        return self._is_adapting

    def _drops_refused_timeout(self, error: Exception) -> bool:
        """Consume without a consumer timeout where RabbitMQ refuses it (4.3, classic queues: they never time out)."""
        refused = isinstance(error, ChannelPreconditionFailed) and CONSUMER_TIMEOUT in str(error)
        return refused and self._arguments.pop(CONSUMER_TIMEOUT, None) is not None

    async def _may_consume(self) -> bool:
        """Wait until the gate is open, and for a free slot if that is needed. False: the worker is leaving."""
        while not self._gate.leaving.is_set():
            if self._gate.closed.is_set():
                self.consuming = False
                await self._return_waiting()
                await run_unless(self._gate.leaving, self._gate.opened.wait())
            elif self._awaits_slot or self._worker.exclusive.is_set():
                await self._wait_for_slot()
            elif self._is_adapting:
                await self._wait_for_starts()
            else:
                return True
        await self._return_waiting()
        return False

    async def _wait_for_slot(self) -> None:
        self.consuming = True
        await run_unless(self._gate.closed, self._worker.has_free_slot.wait())
        # The queue that was served last is the last one to compete for the slot.
        await sleep_unless(self._gate.closed, LONGEST_TURN_SECONDS * self._worker.turn_of(self.queue))
        self._awaits_slot = False

    async def _wait_for_starts(self) -> None:
        """Let what the former consumer has prefetched start, so that the worker never holds more than its prefetch."""
        try:
            await run_unless(self._gate.closed, self.consumers.wait_until_quiet())
            while self._worker.has_waiting(self.queue) and self._worker.longest_wait_seconds < LONGEST_WAIT_SECONDS:
                await sleep_unless(self._gate.closed, START_CHECK_SECONDS)
                if self._gate.closed.is_set() or self._worker.exclusive.is_set():
                    break
        finally:
            self._is_adapting = False
            # What does not start soon is for other workers; what a lost connection has delivered comes again.
            self._run_in_background(self._return_waiting())

    async def _return_waiting(self) -> int:
        """Requeue the messages of this queue that wait; return their number."""
        return await self._worker.requeue(lambda delivery: delivery.queue == self.queue)

    async def _consume(self, connection: Connection) -> bool:
        """Consume until the consumer ends, then requeue the waiting messages.

        It ends when the broker cancels it, the gate closes, a suspect holds the worker, or a message has waited too
        long.

        Returns:
            Whether the broker did not cancel it.
        """
        for unused in self.consumers.take_unused():
            self._run_in_background(unused.close())
        tag = f"{self._name}-{uuid4().hex[:12]}"
        consumer = await Consumer.open(connection, self.queue, tag, self.prefetch, self._gate.state_changed)
        self.consumers.add(consumer)
        try:
            if not self._gate.closed.is_set() and not self._worker.exclusive.is_set():
                attempts = self._settings.attempts_of_broker
                await consumer.start(self._worker.receive, self._arguments, attempts_of_broker=attempts)
                self.consuming = True
                self._gate.state_changed.set()
                _log.info("consuming", queue=self.queue, prefetch=self.prefetch, arguments=self._arguments)
                await run_unless(self._gate.closed, run_unless(self._worker.exclusive, self._wait_for_end(consumer)))
        finally:
            stop = self._run_in_background(self._stop(consumer))
        stopped = asyncio.wait({stop}, timeout=RPC_TIMEOUT_SECONDS)
        if consumer.ended.is_set():
            await stopped
            return False
        await run_unless(self._gate.opened, stopped)
        return True

    @property
    def _keeps_waiting(self) -> bool:
        """Whether what waits stays here: for the time of a suspect, or until another consumer follows.

        Some queues do not tell a returned message from a lost one, which makes it a suspect too.
        """
        return (self._worker.exclusive.is_set() or self._is_adapting) and not self._gate.closed.is_set()

    async def _stop(self, consumer: Consumer) -> None:
        was_consuming, self.consuming = self.consuming, self._awaits_slot or self._keeps_waiting
        self._gate.state_changed.set()
        await consumer.cancel()
        requeued = 0 if self._keeps_waiting else await self._return_waiting()
        if was_consuming:
            _log.info("stopped consuming", queue=self.queue, requeued=requeued)
        await consumer.make_certain()

    def _run_in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.ensure_future(work)
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)
        return task
