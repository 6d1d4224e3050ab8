"""A sample Celery application. CELERY_BROKER_URL is the URL of its broker."""

import os
import time

from celery import Celery

app = Celery("tasks")
app.conf.update(
    # A task is acknowledged when it is done. So the broker shows which worker runs a task, and redelivers the task of a
    # worker that dies.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # Prefetch no message that another worker could start.
    worker_prefetch_multiplier=1,
    # The values of the TaskQueue; the grace period of the pod is longer than the time limit.
    worker_concurrency=int(os.environ.get("TASKQUEUE_CONCURRENCY", "1")),
    task_time_limit=int(os.environ.get("TASKQUEUE_TASK_TIMEOUT_SECONDS", "870")),
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="sample.sleep")
def sleep(seconds: float) -> None:
    """Sleep for some seconds."""
    time.sleep(seconds)
