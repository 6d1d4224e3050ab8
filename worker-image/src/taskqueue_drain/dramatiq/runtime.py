"""A dramatiq worker as the protocol sees it."""

import threading
import time
from typing import Any, Final

from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import q_name

from taskqueue_drain.activity import Activity
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, consumer_timeout_ms
from taskqueue_drain.pika.unreadable_properties import accept_any_properties
from taskqueue_drain.protocol import Figures
from taskqueue_drain.wish import Wish

from .consumer import DrainableConsumer
from .work_queue import WorkQueue

LONGEST_DELAY_SECONDS: Final = 8 * 24 * 3600
"""How long a worker may hold a message of a delay queue. dramatiq delays a retry by seven days at most."""


class DramatiqRuntime:
    """Holds the threads and the consumers of a worker (`taskqueue_drain.Runtime`). For any thread."""

    def __init__(self, worker: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        """Change nothing of the worker yet."""
        self._worker = worker
        self._wish = Wish()
        self._work_queue = WorkQueue(lambda message: message.taskqueue_consumer.requeue_message(message))
        self._consumers: dict[str, DrainableConsumer] = {}
        self._lock = threading.Lock()
        self._activity = Activity(time.monotonic())

    def install(self, broker: RabbitmqBroker, task_timeout_seconds: int) -> None:
        """Take the place of the work queue and of the consumers, before there are any."""
        worker = self._worker
        queues = max(1, len(worker.consumer_whitelist or broker.queues))
        timeout_ms = consumer_timeout_ms(
            task_timeout_seconds, prefetch=worker.queue_prefetch * queues, concurrency=worker.worker_threads
        )
        arguments: dict[str, dict[str, Any]] = {}

        def consume(queue_name: str, prefetch: int = 1, timeout: int = 5000) -> DrainableConsumer:
            broker.declare_queue(queue_name, ensure=True)
            is_delay_queue = q_name(queue_name) != queue_name
            asked = {CONSUMER_TIMEOUT: LONGEST_DELAY_SECONDS * 1000 if is_delay_queue else timeout_ms}
            kept = arguments.setdefault(queue_name, asked)
            consumer = DrainableConsumer(
                broker, queue_name, prefetch, timeout, arguments=kept, wish=self._wish, worker=worker
            )
            self._consumers[queue_name] = consumer
            return consumer

        accept_any_properties()
        worker.work_queue = self._work_queue
        broker.consume = consume

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self._wish.ask(may_consume=False)
        self._hold()

    def consume(self) -> None:
        """See `Runtime`."""
        self._wish.ask(may_consume=True)
        if self._wish.may_consume:
            self._work_queue.release()
            self._wake()

    def leave(self) -> None:
        """Stop consuming for good."""
        self._wish.end()
        self._hold()

    def end_threads(self) -> None:
        """Let the threads of the tasks end as soon as they run none: dramatiq's own look for that once a second."""
        for thread in self._worker.workers:
            thread.stop()
        self._work_queue.end()

    @property
    def is_quiet(self) -> bool:
        """See `Runtime`. A consumer that opens after the wish obeys it before it consumes."""
        number, may_consume = self._wish.current
        consumers = tuple(self._consumers.values())
        return not may_consume and all(consumer.quiet_for == number or not consumer.is_open for consumer in consumers)

    @property
    def is_consuming(self) -> bool:
        """See `Runtime`."""
        threads = tuple(self._worker.consumers.values())
        return bool(threads) and all(
            thread.consumer is not None and getattr(thread.consumer, "is_consuming", True) for thread in threads
        )

    def figures(self) -> Figures:
        """See `Runtime`."""
        waiting = self._work_queue.qsize() + sum(consumer.waiting for consumer in tuple(self._consumers.values()))
        with self._lock:
            in_flight = self._work_queue.in_flight
            return self._activity.figures(time.monotonic(), in_flight=in_flight, prefetched=waiting)

    def begin(self, message: object) -> None:
        """A task begins."""
        with self._lock:
            self._activity.begin(id(message), time.monotonic())

    def end(self, message: object, *, done: bool | None) -> None:
        """A task has ended, done or failed; None if it was skipped."""
        task, now = id(message), time.monotonic()
        with self._lock:
            if task in self._activity.started_at:  # otherwise another middleware skipped it before it began
                self._activity.settle(task, now, done=done)
                self._activity.end(task, now)

    def _hold(self) -> None:
        self._work_queue.hold()
        self._wake()

    def _wake(self) -> None:
        for consumer in tuple(self._consumers.values()):
            consumer.wake()
