"""Workers that keep the control protocol, one of each runtime."""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.integration.adapters.runtimes import AIO_PIKA, DRAMATIQ, FASTSTREAM, PIKA, TASKIQ

from .running_kit import application, by_hand, celery, node_worker, taskqueue_worker

_CELERY_TASK: Final = (
    *("--message", '[[], {"seconds": {seconds}}, {}]', "--property", "content_encoding=utf-8"),
    *("--header", "lang=py", "--header", "task=sleep", "--header", "id={id}"),
)
_DRAMATIQ_TASK: Final = (
    '{"message_id": "{id}", "message_timestamp": 0, "queue_name": "{queue}", "actor_name": "sleep", "options": {},'
    ' "args": [], "kwargs": {"seconds": {seconds}}}'
)
_TASKIQ_TASK: Final = (
    '{"task_id": "{id}", "task_name": "sleep", "labels": {}, "args": [], "kwargs": {"seconds": {seconds}}}'
)


class GoodWorker(NamedTuple):
    """How the kit tests a worker.

    Attributes:
        command: Gives its command.
        options: Options of the kit: the message of a task.
        declares: Whether it declares queues or exchanges of its own, and so needs more permissions.
    """

    command: Callable[[], tuple[str, ...]]
    options: tuple[str, ...] = ()
    declares: bool = False


GOOD_WORKERS: Final = {
    "taskqueue_worker": GoodWorker(taskqueue_worker, ("--property", "type=sleep")),
    "celery": GoodWorker(celery, _CELERY_TASK, declares=True),
    "node": GoodWorker(node_worker),
    "pika": GoodWorker(lambda: by_hand(PIKA)),
    "aio-pika": GoodWorker(lambda: by_hand(AIO_PIKA)),
    "dramatiq": GoodWorker(lambda: application(DRAMATIQ), ("--message", _DRAMATIQ_TASK), declares=True),
    "taskiq": GoodWorker(lambda: application(TASKIQ), ("--message", _TASKIQ_TASK), declares=True),
    "faststream": GoodWorker(lambda: application(FASTSTREAM), ("--message", "{seconds}")),
}
