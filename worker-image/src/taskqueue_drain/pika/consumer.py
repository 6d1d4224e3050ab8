"""A consumer by hand as the protocol sees it. One thread has the connection; handlers run on those of the slots."""

import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pika import SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError

from taskqueue_drain.backoff import Backoff
from taskqueue_drain.broker import BrokerError
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, ConsumeSettings
from taskqueue_drain.pika_channel import connection_parameters
from taskqueue_drain.protocol import Figures
from taskqueue_drain.protocol_log import log
from taskqueue_drain.slots import Slots
from taskqueue_drain.wish import Wish

from .delivery import Delivery, Handler
from .subscription import Subscription
from .unreadable_properties import accept_any_properties

HEARTBEAT_SECONDS: Final = 60
"""Long: a handler may hold the interpreter, for example while it loads a library, and heartbeats wait meanwhile."""
CLOSE_TIMEOUT_SECONDS: Final = 5
WAKE_BYTES: Final = 4096


class Consumer:
    """Consumes, and runs a handler for each message (`taskqueue_drain.Runtime`)."""

    def __init__(self, settings: ConsumeSettings, name: str, handler: Handler) -> None:
        """Connect nothing yet."""
        self._settings = settings
        self._name = name
        self._wish = Wish()
        self._loop = IOLoop()
        self._slots = Slots[Delivery](
            settings.concurrency, self._wish, lambda delivery: handler(delivery.message), self._ended
        )
        self._connection: Any = None
        self._backoff = Backoff()
        self._connected_at = 0.0
        self._is_leaving = False
        self._is_closing = False
        self._wakes, self._sends = socket.socketpair()
        self._wakes.setblocking(False)
        self._sends.setblocking(False)
        self._subscriptions = [
            Subscription(
                queue,
                prefetch=settings.prefetch,
                arguments={CONSUMER_TIMEOUT: settings.consumer_timeout_ms},
                wish=self._wish,
                loop=self._loop,
                receive=self._slots.receive,
            )
            for queue in settings.queues
        ]

    # On any thread.

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self._slots.stop()
        self._wake()

    def consume(self) -> None:
        """See `Runtime`."""
        self._wish.ask(may_consume=True)
        self._wake()

    def leave(self) -> None:
        """Stop consuming for good; `run` returns after the last task. Also for signal handlers."""
        self._is_leaving = True
        self._wake()

    @property
    def is_quiet(self) -> bool:
        """See `Runtime`."""
        number, may_consume = self._wish.current
        return not may_consume and all(subscription.quiet_for == number for subscription in self._subscriptions)

    @property
    def is_consuming(self) -> bool:
        """See `Runtime`."""
        return all(subscription.is_consuming for subscription in self._subscriptions)

    def figures(self) -> Figures:
        """See `Runtime`."""
        return self._slots.figures()

    def _ended(self, delivery: Delivery, done: bool) -> None:  # noqa: FBT001 - a callback
        self._loop.add_callback_threadsafe(partial(self._on_end, delivery, done=done))

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it has been woken often enough
            self._sends.send(b"\0")

    # On the thread of the connection.

    def run(self) -> None:
        """Consume until `leave`, and until the last task has ended."""
        accept_any_properties()
        self._loop.add_handler(self._wakes.fileno(), self._on_wake, IOLoop.READ)
        self._connect()
        self._loop.start()
        self._loop.close()
        self._slots.close()

    def _connect(self) -> None:
        try:
            parameters = connection_parameters(self._settings.broker.read(), self._name)
        except BrokerError as error:
            self._on_lost(None, error)
            return
        parameters.heartbeat = HEARTBEAT_SECONDS
        self._connected_at = time.monotonic()
        self._connection = SelectConnection(
            parameters, self._on_connected, self._on_lost, self._on_lost, custom_ioloop=self._loop
        )

    def _on_connected(self, connection: Any) -> None:  # noqa: ANN401 - pika has no types
        for subscription in self._subscriptions:
            subscription.connected(connection)
        self._obey()

    def _on_lost(self, _: object, reason: BaseException) -> None:
        """There is no connection, or no longer."""
        self._connection = None
        for subscription in self._subscriptions:
            subscription.lost()
        self._slots.lose()
        if self._is_leaving:
            self._obey()
            return
        delay = self._backoff.next_delay(time.monotonic() - self._connected_at)
        log.warning("not connected: %s. The next attempt follows in %.1f s", str(reason) or repr(reason), delay)
        self._loop.call_later(delay, self._connect_again)

    def _connect_again(self) -> None:
        if not self._is_leaving:
            self._connect()

    def _on_wake(self, *_: object) -> None:
        with suppress(BlockingIOError):
            while self._wakes.recv(WAKE_BYTES):
                pass
        self._obey()

    def _obey(self) -> None:
        if self._is_leaving:
            self._slots.end()
        if not self._wish.may_consume:
            for delivery in self._slots.withdraw():
                delivery.requeue()
        for subscription in self._subscriptions:
            subscription.obey()
        self._slots.fill()
        if self._is_leaving and self._slots.is_idle:
            self._close()

    def _close(self) -> None:
        """Close the connection, after everything that was settled on it, and end the loop."""
        if self._connection is None or not (self._connection.is_open or self._is_closing):
            self._loop.stop()  # pika fails if a connection is closed while it opens
        elif not self._is_closing:
            self._is_closing = True
            self._connection.close()
            self._loop.call_later(CLOSE_TIMEOUT_SECONDS, self._loop.stop)

    def _on_end(self, delivery: Delivery, *, done: bool) -> None:
        if delivery.is_lost:
            log.warning("the connection was lost during the task: the broker delivers its message again")
        else:
            with suppress(AMQPError):
                self._settle(delivery, done=done)
        self._slots.settled(delivery, done=done)
        if self._is_leaving:
            self._obey()

    def _settle(self, delivery: Delivery, *, done: bool) -> None:
        if done:
            delivery.acknowledge()
            return
        message = delivery.message
        again = self._settings.is_tried_again(message.properties.headers or {}, redelivered=message.method.redelivered)
        delivery.reject(requeue=again)
