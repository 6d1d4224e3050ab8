"""Lets the consumers that an application begins on aio-pika's robust connections take part in drains."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from aio_pika import RobustQueue
from aiormq import spec
from aiormq.abc import ConsumerCallback

from taskqueue_drain.aio import cancellation_kept
from taskqueue_drain.protocol import DIRECT_REPLY_TO

from .consumer import Consumer, OnDelivery, consume
from .consumer_timeout import with_consumer_timeout
from .runtime import AioPikaRuntime

CANCEL_TIMEOUT_SECONDS: Final = 10
CALL_TIMEOUT_SECONDS: Final = 10

Callback = Callable[[Any], Awaitable[object]]


class Adapter(Protocol):
    """What an adapter does with the consumers of its application."""

    @property
    def runtime(self) -> AioPikaRuntime:
        """The worker to which the consumers belong."""
        ...

    def obstacle(self, queue: RobustQueue, *, no_ack: bool) -> str | None:
        """Return why this consumer cannot be drained, and the way out; None if it can."""
        ...

    def consumer_timeout_ms(self, queue: RobustQueue) -> int | None:
        """Return how long the broker must wait for an acknowledgement; None if that is not known."""
        ...

    def refuse(self, reason: str) -> None:
        """A consumer cannot be drained: the worker is never idle."""
        ...

    def on_delivery(self, callback: Callback, queue: RobustQueue) -> OnDelivery:
        """Return what hands each message of a consumer to the callback of the application."""
        ...


def queue_class(adapter: Adapter) -> type[RobustQueue]:
    """Return what takes the place of `RobustChannel.QUEUE_CLASS`."""
    return type("DrainableQueue", (_DrainableQueue,), {"adapter": adapter})


def prefetch_count(channel: object) -> int:
    """Return how many unacknowledged messages each consumer of a robust channel gets; 0 if that is unlimited."""
    return int(getattr(channel, "_prefetch_count", 0) or 0)


def is_prefetch_shared(channel: object) -> bool:
    """Whether the consumers of a robust channel share its prefetch, instead of each having its own."""
    return bool(getattr(channel, "_global_qos", False))


class _DrainableQueue(RobustQueue):
    """The application keeps the consumer tag of its first `consume`; after an undrain the broker has another one."""

    adapter: Adapter

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of the client
        super().__init__(*arguments, **options)
        self._drainable: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}

    # typing has no `override` before Python 3.12, and the application passes what the client defines.
    async def consume(self, callback: Callback, no_ack: bool = False, **options: Any) -> str:  # type: ignore[override,explicit-override]  # noqa: FBT001, FBT002, ANN401
        if self.name == DIRECT_REPLY_TO:  # no task arrives there
            return await super().consume(callback, no_ack, **options)
        if reason := self._obstacle(no_ack=no_ack):
            self.adapter.refuse(reason)
            return await super().consume(callback, no_ack, **options)
        if milliseconds := self.adapter.consumer_timeout_ms(self):
            options["arguments"] = await with_consumer_timeout(self, options.get("arguments"), milliseconds)
        options.pop("robust", None)
        runtime, on_delivery = self.adapter.runtime, self.adapter.on_delivery(callback, self)
        consumer = Consumer(self, partial(self._begin, options), super().cancel, on_delivery, runtime.changed.set)
        runtime.add(consumer)  # before it starts: it may be that the worker is drained already
        try:
            tag = await consumer.start()
        except BaseException:
            runtime.remove(consumer)
            raise
        following = asyncio.ensure_future(consumer.follow())
        following.add_done_callback(lambda _: runtime.remove(consumer))
        self._drainable[tag] = consumer, following
        return tag

    async def cancel(self, consumer_tag: str, *args: Any, **kwargs: Any) -> Any:  # type: ignore[explicit-override]  # noqa: ANN401
        if consumer_tag not in self._drainable:
            return await super().cancel(consumer_tag, *args, **kwargs)
        consumer, following = self._drainable.pop(consumer_tag)
        consumer.retire()
        await asyncio.wait({following}, timeout=CANCEL_TIMEOUT_SECONDS)
        return spec.Basic.CancelOk(consumer_tag=consumer_tag)

    async def _begin(self, options: dict[str, Any], receive: ConsumerCallback) -> str:
        """Consume; the client must not restore the consumer, as it does its own: the worker may be drained by then."""
        underlay = await self.channel.get_underlay_channel()
        # On a further channel, which the broker closes if the queue is missing: tasks run on the other.
        with cancellation_kept():
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                asking = await underlay.connection.channel(publisher_confirms=False)
                try:
                    await asking.queue_declare(self.name, passive=True)
                finally:
                    await asking.close()
        return await consume(self, receive, **options)

    def _obstacle(self, *, no_ack: bool) -> str | None:
        if self.auto_delete or self.exclusive:
            return f"queue {self.name} is deleted with its last consumer: use a durable queue"
        return self.adapter.obstacle(self, no_ack=no_ack)
