"""A consumer that is cancelled for certain, requeues what waits, and consumes again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiormq
from aio_pika import RobustChannel
from aio_pika.abc import AbstractQueue
from aiormq.abc import ConsumerCallback, DeliveredMessage

from taskqueue_drain.aio import is_cancellation_requested, run_unless, sleep_unless
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.protocol_log import log

from .delivery import CHANNEL_ERRORS, Delivery

OnDelivery = Callable[[Delivery], Awaitable[object]]


async def consume(queue: AbstractQueue, receive: ConsumerCallback, **options: Any) -> str:  # noqa: ANN401 - the client's
    """Begin to consume, and return the consumer tag. aio-pika itself would start a further task for each message."""
    channel = await queue.channel.get_underlay_channel()
    return cast("str", (await channel.basic_consume(queue.name, receive, **options)).consumer_tag)


class Consumer:
    """Consumes a queue while it may. On a robust channel it consumes again after each loss.

    Calls on the channel have no timeout: aiormq closes a channel when a call on it is given up, and the broker would
    then redeliver the running tasks. So `follow` makes them, one after another, and no other method waits for one.

    Attributes:
        is_quiet: Whether it is certain that the broker delivers nothing more.
    """

    def __init__(
        self,
        queue: AbstractQueue,
        begin: Callable[[ConsumerCallback], Awaitable[str]],
        cancel: Callable[[str], Awaitable[object]],
        on_delivery: OnDelivery,
        changed: Callable[[], None],
    ) -> None:
        """Consume nothing yet.

        Args:
            queue: The queue.
            begin: Begins to consume with a new consumer tag, and returns the tag.
            cancel: Cancels the consumer with this tag.
            on_delivery: Gets each message while the consumer may consume. It waits for no task.
            changed: Called when what this consumer says of itself may have changed.
        """
        self.queue = queue
        self._begin = begin
        self._cancel = cancel
        self._on_delivery = on_delivery
        self._changed = changed
        self._may_consume = True
        self._is_retired = False
        self._tag: str | None = None
        self._channel: aiormq.Channel | None = None
        self._waiting: dict[Delivery, None] = {}
        self._refused: list[Delivery] = []
        self._wake = asyncio.Event()
        self.is_quiet = True

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has this consumer."""
        return self._tag is not None and self._may_consume and not self.queue.channel.is_closed

    @property
    def prefetched(self) -> int:
        """Messages whose task has not begun."""
        return len(self._waiting) + len(self._refused)

    def allow(self, *, may_consume: bool) -> None:
        """Consume from now on; or let no task begin any more, and requeue the messages that wait."""
        self._may_consume = may_consume and not self._is_retired
        if not self._may_consume:
            for delivery in self._waiting:
                delivery.withdraw()
            self._refused.extend(self._waiting)
            self._waiting.clear()
        self._wake.set()

    def retire(self) -> None:
        """Stop consuming for good. `follow` then ends."""
        self._is_retired = True
        self.allow(may_consume=False)

    async def receive(self, message: DeliveredMessage) -> None:
        """The broker has delivered a message."""
        delivery = Delivery(message, self._take)
        if self._may_consume:
            self._waiting[delivery] = None
            await self._on_delivery(delivery)
            return
        # It was sent before the cancel and received after it.
        self._refused.append(delivery)
        self._tag = message.consumer_tag
        self.is_quiet = False
        self._changed()
        self._wake.set()

    async def start(self) -> str:
        """Consume; return the consumer tag."""
        self.is_quiet = False
        self._tag = tag = await self._begin(self.receive)
        self._watch(await self._underlay(), tag)
        self._changed()
        return tag

    async def follow(self) -> None:
        """Begin and end to consume as `allow` says. What fails is repeated with a backoff."""
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        while not (self._is_retired and self.is_quiet):
            self._wake.clear()
            started_at = clock()
            try:
                await self._advance()
            except (Exception, asyncio.CancelledError) as error:  # without `follow`, nothing cancels or consumes
                if is_cancellation_requested():
                    raise
                log.warning("queue %s: %s", self.queue.name, str(error) or repr(error))
                await sleep_unless(self._wake, backoff.next_delay(clock() - started_at))
            else:
                if not self._is_retired:
                    await self._wake.wait()

    def _watch(self, channel: aiormq.Channel, tag: str) -> None:
        """Learn when the broker no longer has the consumer."""
        if channel is not self._channel:
            self._channel = channel
            channel.closing.add_done_callback(lambda _: self._on_lost(channel))
            # aiormq before 7.0 does not tell that the broker has cancelled a consumer.
            cancelled: set[Any] = getattr(channel, "on_consumer_cancel_callbacks", set())
            cancelled.add(lambda frame: self._on_cancelled(frame.consumer_tag))
        if tag not in channel.consumers:  # it was on a channel before this one
            self._on_lost(channel)

    def _on_lost(self, channel: aiormq.Channel) -> None:
        if channel is self._channel:
            self.is_quiet = True
            self._on_cancelled(self._tag)

    def _on_cancelled(self, tag: str | None) -> None:
        if tag == self._tag:
            self._tag = None
            self._changed()
            self._wake.set()

    async def _underlay(self) -> aiormq.Channel:
        return cast("aiormq.Channel", await self.queue.channel.get_underlay_channel())

    def _take(self, delivery: Delivery) -> bool:
        if delivery not in self._waiting:
            return False
        del self._waiting[delivery]
        return not delivery.is_lost

    async def _advance(self) -> None:
        while not (self._may_consume or (self._tag is None and self.is_quiet)):
            await self._stop()
        await self._requeue_refused()
        if self._may_consume and self._tag is None:
            channel = self.queue.channel
            if isinstance(channel, RobustChannel):
                await run_unless(self._wake, channel.ready())
            elif channel.is_closed:
                return  # for good: `follow` is about to be cancelled
            if not self._wake.is_set():
                await self.start()

    async def _stop(self) -> None:
        """Cancel the consumer, requeue what it has delivered, and wait for the proof that nothing follows.

        `basic.cancel-ok` can arrive before the queue leader has processed the cancel. RabbitMQ processes a channel in
        order, so the answer to a further synchronous method arrives after the last message.
        """
        tag = self._tag
        try:
            underlay = await self._underlay()
            callbacks = _RetainedCallbacks.of(underlay)
            if tag is not None:
                callbacks.retained.add(tag)
                await self._cancel(tag)
                self._tag = None
            await self._requeue_refused()
            await underlay.flow(active=True)
            callbacks.forget(tag)
        except (*CHANNEL_ERRORS, asyncio.CancelledError):
            if is_cancellation_requested() or not self.queue.channel.is_closed:
                raise
            self._tag = None  # with the channel
        self.is_quiet = self._tag is None and not self._refused
        self._changed()

    async def _requeue_refused(self) -> None:
        while self._refused:
            await self._refused[0].requeue()
            del self._refused[0]
        self._changed()


class _RetainedCallbacks(dict[str, ConsumerCallback]):
    """aiormq removes a callback at cancel-ok, and would drop a message that arrives later."""

    def __init__(self, callbacks: dict[str, ConsumerCallback]) -> None:
        super().__init__(callbacks)
        self.retained: set[str] = set()

    @classmethod
    def of(cls, channel: aiormq.Channel) -> "_RetainedCallbacks":
        """Return the callbacks of a channel, and retain them from now on."""
        if not isinstance(channel.consumers, cls):
            channel.consumers = cls(channel.consumers)
        return channel.consumers

    def forget(self, tag: str | None) -> None:
        """Nothing more arrives."""
        if tag is not None:
            self.retained.discard(tag)
            super().pop(tag, None)

    # typing has no `override` before Python 3.12.
    def pop(self, tag: str, *default: Any) -> Any:  # type: ignore[explicit-override]  # noqa: ANN401
        return self.get(tag) if tag in self.retained else super().pop(tag, *default)
