"""The messages that a Celery worker holds and has not begun: where they wait, and how they return."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty
from typing import Any

from amqp import spec
from amqp.exceptions import AMQPError
from celery.worker import state

TIMER_CALLS = frozenset({"apply_eta_task", "_limit_post_eta"})


def requeue_task(request: Any) -> None:  # noqa: ANN401 - Celery has no types
    """Requeue the message of a task that has not begun."""
    if not request.acknowledged:
        requeue(request.message)
        request.acknowledged = True
    state.task_ready(request)


def requeue(message: Any) -> None:  # noqa: ANN401 - kombu has no types
    """Return a message to its queue with `basic.nack`: since RabbitMQ 4.3, `basic.reject` counts as a failure."""
    with suppress(AMQPError, OSError):  # the broker itself requeues what a lost channel held
        # Delivery tag, multiple, requeue. py-amqp has no method for it.
        message.channel.send_method(spec.Basic.Nack, "Lbb", (message.delivery_tag, False, True))
    message._state = "REQUEUED"  # noqa: SLF001 - kombu would settle it again


def requeue_all(consumer: Any) -> int:  # noqa: ANN401 - Celery has no types
    """Requeue the messages of all tasks that have not begun; return their number."""
    requests = [
        *_waiting_for_process(consumer),
        *_waiting_for_thread(consumer),
        *_waiting_for_time(consumer),
        *_rate_limited(consumer),
    ]
    for request in requests:
        requeue_task(request)
    return len(requests)


def count(consumer: Any) -> int:  # noqa: ANN401 - Celery has no types
    """Count the tasks that were received and have not begun. May be called on any thread."""
    semaphore = consumer.controller.semaphore
    waiting = (len(semaphore._waiting) if semaphore else 0) + waiting_for_thread(consumer)  # noqa: SLF001
    limited = sum(len(bucket.contents) for bucket in tuple(consumer.task_buckets.values()) if bucket)
    # Celery before 5.7 does not count the tasks with an ETA.
    return waiting + limited + len(getattr(state, "scheduled_requests", ()))


def waiting_for_thread(consumer: Any) -> int:  # noqa: ANN401 - Celery has no types
    """Count the tasks that wait in the pool threads. May be called on any thread."""
    executor = getattr(consumer.pool, "executor", None)
    if not executor:
        return 0
    # Once it shuts down, one item wakes a thread that is to end, and that thread puts it back.
    waiting: int = executor._work_queue.qsize() - executor._shutdown  # noqa: SLF001 - they have no public names
    return max(0, waiting)


def _waiting_for_process(consumer: Any) -> Iterator[Any]:  # noqa: ANN401 - Celery has no types
    semaphore = consumer.controller.semaphore
    while semaphore and semaphore._waiting:  # noqa: SLF001 - it has no public name
        _, arguments, _ = semaphore._waiting.popleft()  # noqa: SLF001 - likewise
        yield arguments[0]


def _waiting_for_thread(consumer: Any) -> Iterator[Any]:  # noqa: ANN401 - Celery has no types
    executor = getattr(consumer.pool, "executor", None)
    with suppress(Empty):
        while executor:
            item = executor._work_queue.get_nowait()  # noqa: SLF001 - as `shutdown(cancel_futures=True)` does
            if item is None:  # wakes a thread that is to end
                executor._work_queue.put(None)  # noqa: SLF001 - likewise
                return
            if item.future.cancel():
                # Since Python 3.14 an item has `task`: function, arguments, keywords.
                arguments = item.args if hasattr(item, "args") else item.task[1]
                execution = next(part.__self__ for part in arguments if getattr(part, "__name__", "") == "on_success")
                execution.discard()
                yield execution.request


def _waiting_for_time(consumer: Any) -> Iterator[Any]:  # noqa: ANN401 - Celery has no types
    for scheduled in tuple(consumer.timer.queue):
        entry = scheduled.entry
        if getattr(entry.fun, "__name__", "") in TIMER_CALLS and not entry.canceled:
            consumer.timer.cancel(scheduled if hasattr(scheduled, "kill") else entry)  # with gevent, a greenlet
            entry.canceled = True
            consumer.qos.decrement_eventually()
            yield entry.args[0]


def _rate_limited(consumer: Any) -> Iterator[Any]:  # noqa: ANN401 - Celery has no types
    for bucket in consumer.task_buckets.values():
        while bucket and bucket.contents:
            request, _ = bucket.contents.popleft()
            yield request
