"""A consumer by hand as the protocol sees it. One thread has the connection; handlers run on threads of their own."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pika import SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError

from taskqueue_drain.activity import Activity
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.broker import BrokerError
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, ConsumeSettings
from taskqueue_drain.pika_channel import connection_parameters
from taskqueue_drain.protocol import Figures
from taskqueue_drain.protocol_log import log
from taskqueue_drain.wish import Wish

from .delivery import Delivery, Message
from .subscription import Subscription
from .unreadable_properties import accept_any_properties

HEARTBEAT_SECONDS: Final = 60
"""Long: a handler may hold the interpreter, for example while it loads a library, and heartbeats wait meanwhile."""
CLOSE_TIMEOUT_SECONDS: Final = 5
WAKE_BYTES: Final = 4096

Handler = Callable[[Message], object]


class Consumer:
    """Consumes, and runs a handler for each message (`taskqueue_drain.Runtime`)."""

    def __init__(self, settings: ConsumeSettings, name: str, handler: Handler) -> None:
        """Connect nothing yet."""
        self._settings = settings
        self._name = name
        self._handler = handler
        self._wish = Wish()
        self._loop = IOLoop()
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="task")
        self._lock = threading.Lock()
        self._activity = Activity(time.monotonic())
        self._running: set[Delivery] = set()
        self._waiting: deque[Delivery] = deque()
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
                receive=self._receive,
            )
            for queue in settings.queues
        ]

    # On any thread.

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self._wish.ask(may_consume=False)
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
        with self._lock:
            now, activity = time.monotonic(), self._activity
            oldest_seconds = activity.oldest_seconds(now)
            return Figures(
                in_flight=len(self._running),
                prefetched=len(self._waiting),
                idle_seconds=round(activity.idle_seconds(now), 3),
                oldest_seconds=None if oldest_seconds is None else round(oldest_seconds, 3),
                completed=activity.completed,
                failed=activity.failed,
                busy_seconds=round(activity.busy_seconds, 3),
            )

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
        self._pool.shutdown()

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
        self._drop_lost()
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
            self._wish.end()
        if not self._wish.may_consume:
            self._requeue_waiting()
        for subscription in self._subscriptions:
            subscription.obey()
        self._start_waiting()
        if self._is_leaving and not self._running:
            self._close()

    def _close(self) -> None:
        """Close the connection, after everything that was settled on it, and end the loop."""
        if self._connection is None or not (self._connection.is_open or self._is_closing):
            self._loop.stop()  # pika fails if a connection is closed while it opens
        elif not self._is_closing:
            self._is_closing = True
            self._connection.close()
            self._loop.call_later(CLOSE_TIMEOUT_SECONDS, self._loop.stop)

    def _receive(self, delivery: Delivery) -> None:
        with self._lock:
            self._waiting.append(delivery)
        self._start_waiting()

    def _requeue_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for delivery in waiting:
            if not delivery.is_lost:
                delivery.requeue()

    def _drop_lost(self) -> None:
        """Forget the messages that the broker delivers again, because their channel is closed."""
        with self._lock:
            self._waiting = deque(delivery for delivery in self._waiting if not delivery.is_lost)

    def _start_waiting(self) -> None:
        self._drop_lost()
        while self._waiting and len(self._running) < self._settings.concurrency and self._wish.may_consume:
            with self._lock:
                delivery = self._waiting.popleft()
                self._running.add(delivery)
                self._activity.begin(delivery, time.monotonic())
            self._pool.submit(self._handle, delivery)

    def _handle(self, delivery: Delivery) -> None:
        """Run the handler, on its own thread."""
        done = False
        try:
            self._handler(delivery.message)
            done = True
        except BaseException:  # noqa: BLE001 - what the handler raises, SystemExit too, ends its task and not the worker
            log.exception("the task failed")
        self._loop.add_callback_threadsafe(partial(self._on_end, delivery, done=done))

    def _on_end(self, delivery: Delivery, *, done: bool) -> None:
        if delivery.is_lost:
            log.warning("the connection was lost during the task: the broker delivers its message again")
        else:
            with suppress(AMQPError):
                self._settle(delivery, done=done)
        with self._lock:
            self._running.discard(delivery)
            self._activity.settle(delivery, time.monotonic(), done=done)
            self._activity.end(delivery, time.monotonic())
        self._obey()

    def _settle(self, delivery: Delivery, *, done: bool) -> None:
        if done:
            delivery.acknowledge()
            return
        message = delivery.message
        again = self._settings.is_tried_again(message.properties.headers or {}, redelivered=message.method.redelivered)
        delivery.reject(requeue=again)
