"""Lets the subscribers of a FastStream application stop consuming, with proof, and consume again."""

import asyncio
import os
from functools import cache, wraps
from weakref import WeakKeyDictionary

from aio_pika import RobustChannel, RobustConnection, RobustQueue
from faststream.__about__ import __version__ as faststream_version
from faststream.rabbit import RabbitBroker

from taskqueue_drain.aio_pika.consumer import OnDelivery
from taskqueue_drain.aio_pika.delivery import Delivery
from taskqueue_drain.aio_pika.membership import Membership, beside
from taskqueue_drain.aio_pika.robust_queue import Callback, is_prefetch_shared, prefetch_count, queue_class
from taskqueue_drain.aio_pika.runtime import AioPikaRuntime
from taskqueue_drain.consume_settings import consumer_timeout_ms
from taskqueue_drain.environment import CannotJoinError
from taskqueue_drain.protocol_log import contained

from .supported import check_faststream, consumer_obstacle


class DrainableSubscribers:
    """The subscribers of this process (`taskqueue_drain.aio_pika.robust_queue.Adapter`)."""

    def __init__(self) -> None:
        self.runtime = AioPikaRuntime()
        self._membership = Membership(self.runtime, os.environ)
        self._slots: WeakKeyDictionary[object, asyncio.Semaphore] = WeakKeyDictionary()
        try:
            check_faststream(faststream_version)
        except CannotJoinError as error:
            self.refuse(str(error))
        else:
            RobustChannel.QUEUE_CLASS = queue_class(self)

    def obstacle(self, queue: RobustQueue, *, no_ack: bool) -> str | None:
        """See `Adapter`."""
        return consumer_obstacle(queue.name, no_ack=no_ack, prefetch=prefetch_count(queue.channel))

    def consumer_timeout_ms(self, queue: RobustQueue) -> int | None:  # noqa: ARG002 - see `Adapter`
        """See `Adapter`: a task begins when its message arrives, or when a task from before an undrain has ended."""
        seconds = self._membership.task_timeout_seconds
        return None if seconds is None else consumer_timeout_ms(seconds, prefetch=1, concurrency=1)

    def refuse(self, reason: str) -> None:
        """See `Adapter`."""
        self._membership.refuse(reason)

    def on_delivery(self, callback: Callback, queue: RobustQueue) -> OnDelivery:
        """See `Adapter`. After an undrain, tasks from before the drain may still hold slots."""
        # RabbitMQ counts the prefetch for each consumer: a subscriber never waits for the tasks of another one.
        sharing = queue.channel if is_prefetch_shared(queue.channel) else callback
        slots = self._slots.setdefault(sharing, asyncio.Semaphore(prefetch_count(queue.channel)))

        async def deliver(delivery: Delivery) -> None:
            async def task() -> bool:
                await callback(delivery.message)
                return True

            delivery.handle(self.runtime.perform(delivery, slots, task))

        return deliver

    @contained
    def join(self, connection: RobustConnection) -> None:
        """The subscribers of a broker have begun to consume, on this connection."""
        self._membership.join(beside(connection))

    async def leave(self) -> None:
        """Stop consuming for good, and wait for the running tasks: FastStream waits for them 15 s by default."""
        contained(self._membership.leave)()
        await self._membership.wait_for_tasks()

    async def close(self) -> None:
        """All tasks have ended."""
        await self._membership.close()


@cache
def install() -> None:
    """Let each `RabbitBroker` of this process join when it starts. Has no effect a second time."""
    start, stop = RabbitBroker.start, RabbitBroker.stop
    subscribers: list[DrainableSubscribers] = []

    @contained
    def prepare() -> None:
        if not subscribers:
            subscribers.append(DrainableSubscribers())

    @wraps(start)
    async def start_and_join(broker: RabbitBroker) -> None:
        prepare()
        await start(broker)
        for joining in subscribers:
            joining.join(await broker.connect())

    @wraps(stop)
    async def leave_and_stop(broker: RabbitBroker, *error: object) -> None:
        for joined in subscribers:
            await joined.leave()
        await stop(broker, *error)
        for joined in subscribers:
            await joined.close()
        subscribers.clear()  # a broker that starts again joins again

    RabbitBroker.start = start_and_join  # FastStream has no hook for a process
    RabbitBroker.stop = leave_and_stop
