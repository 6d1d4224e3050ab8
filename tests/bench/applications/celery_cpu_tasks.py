"""A task of Celery that computes in a process of the prefork pool."""

import os

from celery import Celery
from kombu import Queue

QUEUE = os.environ["TASKQUEUE_QUEUES"]
STEPS = int(os.environ["STEPS"])

app = Celery("audited", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=int(os.environ["TASKQUEUE_PREFETCH"]) // int(os.environ["TASKQUEUE_CONCURRENCY"]),
    worker_concurrency=int(os.environ["TASKQUEUE_CONCURRENCY"]),
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    task_default_queue=QUEUE,
    task_queues=[Queue(QUEUE, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
)


def _audited(*_: object) -> None:
    sum(step * step for step in range(STEPS))


audited = app.task(_audited, name="audited")
