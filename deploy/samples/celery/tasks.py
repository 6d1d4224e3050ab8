# ruff: noqa: INP001 - no package: it is copied to /app as it is
"""A sample application of Celery's; CELERY_BROKER_URL says where its broker is."""

import os
import time

from celery import Celery

app = Celery("tasks")
app.conf.update(
    # A task is acknowledged when it is done: so the broker shows who runs one, and delivers it again if that one dies.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # No message waits in a worker that another one could begin.
    worker_prefetch_multiplier=1,
    # What the TaskQueue says; the grace period of the pod is longer.
    worker_concurrency=int(os.environ.get("TASKQUEUE_CONCURRENCY", "1")),
    task_time_limit=int(os.environ.get("TASKQUEUE_TASK_TIMEOUT_SECONDS", "870")),
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="sample.sleep")
def sleep(seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)
