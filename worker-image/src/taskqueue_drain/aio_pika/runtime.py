"""A worker whose consumers are those of aio-pika, as the protocol sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from taskqueue_drain.activity import Activity
from taskqueue_drain.protocol import Figures
from taskqueue_drain.protocol_log import log

from .consumer import Consumer
from .delivery import Delivery


class AioPikaRuntime:
    """Stops and starts all consumers together (`taskqueue_drain.Runtime`), and counts tasks.

    Attributes:
        changed: Set when the state of the worker may have changed; the control channel clears it.
        obstacle: Why this worker cannot be drained, although it has joined; None if it can.
    """

    def __init__(self, queues: int = 1) -> None:
        """Own no consumer yet. `queues`: how many queues have a consumer at least while the worker consumes."""
        self._queues = queues
        self._clock = asyncio.get_running_loop().time
        self._consumers: list[Consumer] = []
        self._may_consume = True
        self._activity = Activity(self._clock())
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.changed = asyncio.Event()
        self.obstacle: str | None = None

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self._may_consume = False
        waiting = sum(consumer.prefetched for consumer in self._consumers)
        log.info("stopped consuming, requeued %d messages", waiting)
        self._allow()

    def consume(self) -> None:
        """See `Runtime`."""
        self._may_consume = True
        self._allow()

    @property
    def is_quiet(self) -> bool:
        """See `Runtime`."""
        return (
            self.obstacle is None and not self._may_consume and all(consumer.is_quiet for consumer in self._consumers)
        )

    @property
    def is_consuming(self) -> bool:
        """See `Runtime`."""
        return len(self._consumers) >= self._queues and all(consumer.is_consuming for consumer in self._consumers)

    def figures(self) -> Figures:
        """See `Runtime`."""
        prefetched = sum(consumer.prefetched for consumer in self._consumers)
        return self._activity.figures(self._clock(), in_flight=self._activity.running, prefetched=prefetched)

    def add(self, consumer: Consumer) -> None:
        """A further consumer belongs to this worker."""
        self._consumers.append(consumer)
        consumer.allow(may_consume=self._may_consume)
        self.changed.set()

    def remove(self, consumer: Consumer) -> None:
        """A consumer is gone, with its channel."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)
        self.changed.set()

    async def perform(
        self, delivery: Delivery, slots: AbstractAsyncContextManager[None], task: Callable[[], Awaitable[bool | None]]
    ) -> None:
        """Run a task once a slot is free, unless its message is requeued before.

        Args:
            delivery: The message.
            slots: Bounds the tasks that run at once.
            task: Returns whether it is done; None if that is unknown.
        """
        async with slots:
            if not delivery.take():
                return
            self._begin(delivery)
            done: bool | None = False
            try:
                done = await task()
            finally:
                self._end(delivery, done=done)

    async def wait_until_idle(self) -> None:
        """Wait until no task runs."""
        await self._is_idle.wait()

    def _allow(self) -> None:
        for consumer in self._consumers:
            consumer.allow(may_consume=self._may_consume)
        self.changed.set()

    def _begin(self, delivery: Delivery) -> None:
        self._activity.begin(delivery, self._clock())
        self._is_idle.clear()
        self._tell()

    def _end(self, delivery: Delivery, *, done: bool | None) -> None:
        now = self._clock()
        self._activity.settle(delivery, now, done=done)
        self._activity.end(delivery, now)
        if not self._activity.running:
            self._is_idle.set()
        self._tell()

    def _tell(self) -> None:
        """A task has begun or ended, which changes the state of the worker only in a drain."""
        if not self._may_consume:
            self.changed.set()
