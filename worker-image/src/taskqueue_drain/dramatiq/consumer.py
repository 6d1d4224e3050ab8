"""A consumer of dramatiq that can stop, with proof, and consume again on the same connection.

Only `requeue_message` and `wake` are for other threads than dramatiq's thread of this consumer.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.common import iter_queue
from pika import spec
from pika.exceptions import AMQPError, ChannelClosedByBroker

from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT
from taskqueue_drain.posted_calls import PostedCalls
from taskqueue_drain.protocol_log import log
from taskqueue_drain.wish import Wish

NEVER: Final = -1
ENDING_SECONDS: Final = 0.05
"""How often a thread that receives nothing more looks whether it may end."""


class DrainableConsumer(_RabbitmqConsumer):  # type: ignore[misc]  # dramatiq has no types
    """Consumes a queue of dramatiq, or its delay queue.

    Attributes:
        quiet_for: The number of the wish for which it is proved that no message arrives; -1 if it is for none.
    """

    channel: Any

    def __init__(  # noqa: PLR0913 - what dramatiq's consumer needs, and three more
        self,
        broker: RabbitmqBroker,
        queue_name: str,
        prefetch: int,
        timeout: int,
        *,
        arguments: dict[str, Any],
        wish: Wish,
        worker: Any,  # noqa: ANN401 - dramatiq has no types
    ) -> None:
        """`arguments` are those of `basic.consume`; what the broker refuses is removed from them."""
        super().__init__(broker, queue_name, prefetch, timeout)
        self.connection.add_callback_threadsafe = PostedCalls(self.connection.add_callback_threadsafe).post
        self.quiet_for = NEVER
        self._arguments = arguments
        self._wish = wish
        self._worker = worker
        self._prefetch = prefetch
        self._seconds = timeout / 1000
        self._tag: str | None = None
        self._received: deque[tuple[Any, Any, bytes]] = deque()
        self.iterator = self._deliveries()

    def __next__(self) -> Any:  # noqa: ANN401 - dramatiq has no types
        """Return the next message; None if there was none for a while."""
        message = super().__next__()
        if message is not None:
            message.taskqueue_consumer = self
        return message

    def ack(self, message: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        """Acknowledge a message, unless it came over a connection that is lost: another one may have its tag now."""
        if self._is_own(message):
            super().ack(message)

    def nack(self, message: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        """As `ack`, for a task that has failed."""
        if self._is_own(message):
            super().nack(message)

    def requeue_message(self, message: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        """Return a message to its queue. `basic.nack`: since RabbitMQ 4.3, `basic.reject` counts as a failure."""
        with suppress(KeyError, AMQPError):  # the broker itself requeues what a lost connection held
            self.known_tags.remove(message._tag)  # noqa: SLF001 - it has no public name
            self.connection.add_callback_threadsafe(partial(self._requeue, message._tag))  # noqa: SLF001 - likewise

    def wake(self) -> None:
        """The wish has changed."""
        with suppress(AMQPError):
            self.connection.add_callback_threadsafe(lambda: None)

    @property
    def is_open(self) -> bool:
        """Whether messages may arrive."""
        return bool(self.channel.is_open)

    @property
    def is_consuming(self) -> bool:
        """Whether the queue has this consumer."""
        return self.is_open and self._tag is not None

    @property
    def waiting(self) -> int:
        """Messages that were received and not begun."""
        return len(self._received) + int(self._delayed().qsize())

    def _deliveries(self) -> Iterator[tuple[Any, Any, bytes | None]]:
        """Yield what arrives, and nothing after a while. Ends if the broker cancels the consumer."""
        self._obey()
        while not self._is_cancelled:
            self._wait()
            if not self._received:
                yield (None, None, None)
            while self._received:
                yield self._received.popleft()
            self._obey()

    def _wait(self) -> None:
        """Wait for a message. Acknowledgements, which other threads let this one send, do not end the wait."""
        until = time.monotonic() + self._seconds
        is_final = False
        while not (self._received or is_final or self._is_cancelled) and (rest := until - time.monotonic()) > 0:
            is_final = self._wish.is_final
            self.channel._process_data_events(min(rest, ENDING_SECONDS) if is_final else rest)  # noqa: SLF001 - it raises what closed the channel
            self._obey()

    @property
    def _is_cancelled(self) -> bool:
        return self._tag is not None and self._tag not in self.channel.consumer_tags

    def _obey(self) -> None:
        number, may_consume = self._wish.current
        if not may_consume and self.quiet_for != number:
            self._stop()
            self.quiet_for = number
        elif may_consume and self._tag is None:
            self.quiet_for = NEVER
            self._consume()

    def _consume(self) -> None:
        try:
            self._tag = self.channel.basic_consume(self.queue_name, self._on_message, arguments=dict(self._arguments))
        except ChannelClosedByBroker as error:
            if CONSUMER_TIMEOUT not in error.reply_text or self._arguments.pop(CONSUMER_TIMEOUT, None) is None:
                raise
            # RabbitMQ 4.3 refuses the argument for classic queues, which never time out there.
            self.channel = self.connection.channel()
            self.channel.basic_qos(prefetch_count=self._prefetch)
            self._obey()

    def _stop(self) -> None:
        tag, self._tag = self._tag, None
        self._requeue_waiting()
        if tag is not None:
            # Not `basic_cancel`: with it, pika rejects what still arrives, and that is a failure.
            cancel = spec.Basic.Cancel(consumer_tag=tag, nowait=True)
            self.channel._impl._rpc(cancel, None, [])  # noqa: SLF001 - see above
        # The proof. RabbitMQ processes a channel in order: the answer follows the last message.
        self.channel.basic_qos(prefetch_count=self._prefetch)
        self.connection.process_data_events(0)
        if tag is not None:
            self.channel.basic_cancel(tag)  # pika forgets it

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401, ARG002 - pika's signature
        if self._tag is None:
            self.quiet_for = NEVER
            self._requeue(method.delivery_tag)
        else:
            self._received.append((method, properties, body))

    def _requeue_waiting(self) -> None:
        while self._received:
            self._requeue(self._received.popleft()[0].delivery_tag)
        delayed = self._delayed()
        for item in iter_queue(delayed):
            item.message.taskqueue_consumer.requeue_message(item.message)
            delayed.task_done()

    def _requeue(self, tag: int) -> None:
        with suppress(AMQPError):
            self.channel.basic_nack(tag, requeue=True)

    def _delayed(self) -> Any:  # noqa: ANN401 - dramatiq has no types
        """The messages that wait for their time. The thread of this consumer alone changes them."""
        return self._worker.consumers[self.queue_name].delay_queue

    def _is_own(self, message: Any) -> bool:  # noqa: ANN401 - dramatiq has no types
        if (consumer := getattr(message, "taskqueue_consumer", self)) is not self:
            log.warning("the connection was lost during the task: the broker delivers its message again")
        return consumer is self
