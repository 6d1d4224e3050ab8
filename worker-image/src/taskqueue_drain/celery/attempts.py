"""Counts the attempts of tasks that end their process, and dead-letters their messages after the last one.

Celery rejects with requeue --> copy with the next number, confirmed --> the message is acknowledged
a message comes back after its last attempt --> dead letter, confirmed --> the message is acknowledged
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from weakref import ref

from amqp.exceptions import AMQPError
from celery.worker import state

from taskqueue_drain.copy_headers import ATTEMPT
from taskqueue_drain.environment import RetrySettings
from taskqueue_drain.failed_attempt import Copy, Delivery, attempt, next_attempt
from taskqueue_drain.protocol_log import contained, log

from .broker_version import broker_version
from .copy_thread import CopyThread
from .runtime import CeleryRuntime

COUNTS_FAILURES_SINCE: Final = (4, 3)
LAST_COPIES_SECONDS: Final = 10
"""How long a worker that ends waits for copies."""
POLL_SECONDS: Final = 0.05


class Attempts:
    """Sees each request before its task begins. Its methods run on Celery's threads; copies are published on another.

    A message whose copy is being published counts as a task that runs, so that no drain ends before it is settled.
    """

    def __init__(
        self, runtime: CeleryRuntime, settings: RetrySettings, copies: CopyThread, begin: Callable[[Any], None]
    ) -> None:
        """Let `begin` begin a request. Once the runtime is woken by a copy, `settle` is due on Celery's thread."""
        self._runtime = runtime
        self._settings = settings
        self._copies = copies
        self._begin = begin
        self._settlements: deque[Callable[[], None]] = deque()

    def begin(self, request: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Begin a request, unless its message has used its attempts."""
        try:
            queue, number = self._queue(request.message), self._number(request.message)
        except Exception as error:  # noqa: BLE001 - nothing in an adapter may end the application's worker
            log.warning("attempts of task %s[%s] are not counted: %r", request.name, request.id, error)
            queue, number = None, 1
        if queue is not None and number > self._settings.max_attempts:
            self._publish(queue, number, request, partial(self._begin, request))
            return
        if queue is not None and not self._settings.is_by_broker:
            # A reference to itself would keep each request until a garbage collection.
            request.on_reject = partial(self._on_reject, ref(request), queue, number, request.on_reject)
        self._begin(request)

    def settle(self) -> None:
        """Settle the messages whose copies were published, or could not be."""
        while self._settlements:
            self._settlements.popleft()()

    def finish(self) -> None:
        """Wait for the last copies: the worker ends."""
        until = time.monotonic() + LAST_COPIES_SECONDS
        while self._runtime.settling and time.monotonic() < until:
            self.settle()
            time.sleep(POLL_SECONDS)

    def _on_reject(  # noqa: PLR0913, PLR0917 - Celery passes the last three
        self,
        get_request: Callable[[], Any],
        queue: str,
        number: int,
        reject: Callable[..., None],
        logger: Any,  # noqa: ANN401 - likewise
        errors: Any,  # noqa: ANN401 - likewise
        requeue: bool = False,  # noqa: FBT001, FBT002 - likewise
    ) -> None:
        if requeue:
            self._publish(queue, number, get_request(), partial(reject, logger, errors, requeue))
        else:
            reject(logger, errors, requeue)

    def _publish(self, queue: str, failed: int, request: Any, otherwise: Callable[[], None]) -> None:  # noqa: ANN401 - Celery has no types
        """Publish the copy that follows attempt `failed`; if it cannot be, do what Celery does without the adapter."""
        if request.message.channel.connection is None:  # lost: the broker delivers the message again, beside a copy
            otherwise()
            return
        info = request.message.delivery_info
        origin = info.get("exchange") or "", info.get("routing_key") or ""
        delivery = Delivery(request.message.headers, queue, *origin)
        copy = next_attempt(delivery, failed, self._settings, datetime.now(UTC))
        self._runtime.settling.add(request)

        def published(error: Exception | None) -> None:
            self._settlements.append(partial(self._settle, request, copy, error, otherwise))
            self._runtime.wake()

        self._copies.publish(copy, request.message, published)

    @contained
    def _settle(self, request: Any, copy: Copy, error: Exception | None, otherwise: Callable[[], None]) -> None:  # noqa: ANN401 - Celery has no types
        self._runtime.settling.discard(request)
        if error is not None:
            log.warning("attempt of task %s[%s] not counted: %r", request.name, request.id, error)
            otherwise()
            return
        with suppress(AMQPError, OSError):  # the broker delivers what a lost channel held again, beside the copy
            request.message.ack()
        request.acknowledged = True
        if state.requests.get(request.id) is request:  # else Celery has ended it, and perhaps has the copy already
            state.task_ready(request)
        if copy.is_dead_letter:
            log.error("task %s[%s] has used its attempts: its message is a dead letter", request.name, request.id)
        else:
            number = copy.headers[ATTEMPT]
            log.warning("task %s[%s] was rejected: attempt %d follows", request.name, request.id, number)

    def _queue(self, message: Any) -> str | None:  # noqa: ANN401 - kombu has no types
        """Return the queue from which a message is; None if its consumer is gone."""
        consumer_tag = message.delivery_info.get("consumer_tag")
        for queue, tag in self._runtime.consumer.task_consumer._active_tags.items():  # noqa: SLF001 - it has no public name
            if tag == consumer_tag:
                return str(queue)
        return None

    def _number(self, message: Any) -> int:  # noqa: ANN401 - kombu has no types
        """Return the number of the attempt that begins."""
        counts_failures = bool(message.delivery_info.get("redelivered")) and (
            broker_version(self._runtime.consumer.connection) >= COUNTS_FAILURES_SINCE
        )
        return attempt(message.headers, counts_failures=counts_failures)
