"""Asks RabbitMQ for the time that the tasks of a worker need: since 4.3 the operator writes no policy for it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from amqp.exceptions import PreconditionFailed

from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT, consumer_timeout_ms
from taskqueue_drain.protocol_log import contained, log

from .broker_version import broker_version

ASKED_SINCE: Final = (4, 3)
DEFAULT_MS: Final = 1_800_000
"""RabbitMQ's default. Less is never asked for: Celery may hold tasks with an ETA or a rate limit for as long."""


class ConsumerTimeout:
    """Adds the argument to the consumers of quorum queues, unless the application has set it."""

    def __init__(self, consumer: Any, task_timeout_seconds: int) -> None:  # noqa: ANN401 - Celery has no types
        self._consumer = consumer
        self._task_timeout_seconds = task_timeout_seconds
        self._is_refused = False

    @contained
    def connected(self) -> None:
        """Celery has a new channel, and is about to consume."""
        tasks = self._consumer.task_consumer
        if not self._is_refused and broker_version(self._consumer.connection) >= ASKED_SINCE:
            tasks._basic_consume = partial(self._consume, tasks._basic_consume)  # noqa: SLF001 - it has no public name

    def _consume(self, consume: Callable[..., Any], queue: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - kombu has no types
        """Consume a queue of kombu.

        Raises:
            ConnectionError: RabbitMQ refuses the argument: the queue is of another type than the application says.
        """
        self._ask(queue)
        try:
            return consume(queue, *args, **options)
        except PreconditionFailed as error:
            if CONSUMER_TIMEOUT not in str(error):
                raise
            self._is_refused = True
            # Celery ends at an error of its channel, and connects again at one of its connection.
            raise ConnectionError(f"the consumer timeout is refused, and not asked for again: {error}") from error

    @contained
    def _ask(self, queue: Any) -> None:  # noqa: ANN401 - kombu has no types
        arguments = queue.consumer_arguments or {}
        # Classic queues never time out, and refuse the argument. Celery must know the type to declare the queue.
        is_quorum = (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
        multiplier = self._consumer.prefetch_multiplier  # messages of one queue for each slot; 0: as many as there are
        if not is_quorum or not multiplier or CONSUMER_TIMEOUT in arguments:
            return
        messages = multiplier * len(self._consumer.task_consumer.queues)
        timeout_ms = consumer_timeout_ms(self._task_timeout_seconds, prefetch=messages, concurrency=1)
        if timeout_ms > DEFAULT_MS:
            queue.consumer_arguments = {**arguments, CONSUMER_TIMEOUT: timeout_ms}
            log.info("queue %s is consumed with %s=%d", queue.name, CONSUMER_TIMEOUT, timeout_ms)
