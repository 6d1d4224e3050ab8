"""A Celery application whose task lasts as long as its message says."""

import os
import time

from celery import Celery
from kombu import Queue

app = Celery("celery_app", broker=os.environ["RABBITMQ_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=os.environ["TASKQUEUE_QUEUES"],
    task_queues=[Queue(os.environ["TASKQUEUE_QUEUES"], no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
)


@app.task(name="sleep")  # type: ignore[untyped-decorator]  # Celery has no types
def sleep(seconds: float) -> None:
    time.sleep(seconds)
