"""A consumer of one queue, on a channel of its own. Everything here runs on the thread of the connection."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from pika import spec
from pika.adapters.select_connection import IOLoop

from taskqueue_drain.backoff import Backoff
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT
from taskqueue_drain.protocol_log import log
from taskqueue_drain.wish import Wish

from .delivery import Delivery, Message

NEVER: Final = -1


class Subscription:
    """Consumes as long as it may, and proves when nothing more arrives.

    Attributes:
        is_consuming: Whether the broker has confirmed the consumer.
        quiet_for: The number of the wish for which it is proved that no message arrives; -1 if it is for none.
    """

    def __init__(  # noqa: PLR0913 - what a consumer needs
        self,
        queue: str,
        *,
        prefetch: int,
        arguments: Mapping[str, Any],
        wish: Wish,
        loop: IOLoop,
        receive: Callable[[Delivery], None],
    ) -> None:
        """Consume nothing yet."""
        self._queue = queue
        self._prefetch = prefetch
        self._arguments = dict(arguments)
        self._wish = wish
        self._loop = loop
        self._receive = receive
        self._connection: Any = None
        self._channel: Any = None
        self._tag: str | None = None
        self._proofs = 0
        self._backoff = Backoff()
        self._opened_at = 0.0
        self.is_consuming = False
        self.quiet_for = NEVER

    def connected(self, connection: Any) -> None:  # noqa: ANN401 - pika has no types
        """There is a connection: open a channel."""
        self._connection = connection
        self._opened_at = time.monotonic()
        connection.channel(on_open_callback=self._on_channel)

    def obey(self) -> None:
        """Consume, or stop, as it is wished now."""
        number, may_consume = self._wish.current
        if self._channel is None or not self._channel.is_open:
            self.quiet_for = number
        elif may_consume and self._tag is None:
            self.quiet_for = NEVER
            self._consume()
        elif not may_consume and self._tag is not None:
            self._cancel()
        elif not may_consume:
            self._prove()

    def lost(self) -> None:
        """The connection is lost, and its channels with it."""
        self._connection = None
        self._forget_channel()

    def _on_channel(self, channel: Any) -> None:  # noqa: ANN401 - pika has no types
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(self._on_cancelled)
        channel.basic_qos(prefetch_count=self._prefetch)
        self.obey()

    def _consume(self) -> None:
        tag = self._tag = f"taskqueue-{uuid4().hex}"

        def confirmed(_: object) -> None:
            self.is_consuming = self._tag == tag

        self._channel.basic_consume(
            self._queue, self._on_message, consumer_tag=tag, arguments=self._arguments, callback=confirmed
        )

    def _cancel(self) -> None:
        """Cancel the consumer. Not by `basic_cancel`: with it, pika rejects what still arrives, which is a failure."""
        tag, self._tag = self._tag, None
        self.is_consuming = False
        self._channel._rpc(spec.Basic.Cancel(consumer_tag=tag, nowait=True), None, [])  # noqa: SLF001 - see above
        self._prove(lambda channel: channel._cleanup_consumer_ref(tag))  # noqa: SLF001 - as pika does at the answer

    def _prove(self, after: Callable[[Any], None] = lambda _: None) -> None:
        """Send a synchronous method. RabbitMQ processes a channel in order: its answer follows the last message."""
        self.quiet_for = NEVER
        self._proofs += 1
        channel = self._channel

        def proved(_: object) -> None:
            self._proofs -= 1
            after(channel)
            number, may_consume = self._wish.current
            if not may_consume and self._tag is None and not self._proofs:
                self.quiet_for = number

        channel.basic_qos(prefetch_count=self._prefetch, callback=proved)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - pika has no types
        delivery = Delivery(channel, Message(body, properties, method))
        if self._wish.may_consume and method.consumer_tag == self._tag:
            self._receive(delivery)
        else:
            delivery.requeue()
            if self._tag is None:
                self._prove()

    def _on_closed(self, channel: Any, reason: BaseException) -> None:  # noqa: ANN401 - pika has no types
        """The channel is closed: by the broker, or because the broker cancelled the consumer."""
        if channel is not self._channel:
            return
        connection = self._connection
        self._forget_channel()
        if connection is None or not connection.is_open:
            return  # `lost` follows
        if CONSUMER_TIMEOUT in str(reason) and self._arguments.pop(CONSUMER_TIMEOUT, None) is not None:
            self.connected(connection)  # RabbitMQ 4.3 refuses the argument for classic queues, which never time out
        else:
            self._retry(str(reason), lambda: self._reopen(connection))

    def _on_cancelled(self, frame: Any) -> None:  # noqa: ANN401 - pika has no types
        """The broker has cancelled the consumer. Running tasks can still be settled on the channel.

        RabbitMQ 4.3 keeps a consumer of which a message has timed out, and delivers to it again once that message is
        settled, unless the consumer is cancelled before.
        """
        if frame.method.consumer_tag != self._tag:
            return
        self._channel._consumers[self._tag] = self._on_message  # noqa: SLF001 - pika forgot it, and drops what follows
        self._cancel()
        self._retry("the broker cancelled the consumer", self.obey)

    def _retry(self, reason: str, retry: Callable[[], None]) -> None:
        delay = self._backoff.next_delay(time.monotonic() - self._opened_at)
        log.warning("not consuming %s: %s. The next attempt follows in %.1f s", self._queue, reason, delay)
        self._loop.call_later(delay, retry)

    def _reopen(self, connection: Any) -> None:  # noqa: ANN401 - pika has no types
        if connection is self._connection and connection.is_open:
            self.connected(connection)

    def _forget_channel(self) -> None:
        self._channel = self._tag = None
        self._proofs = 0
        self.is_consuming = False
        self.obey()
