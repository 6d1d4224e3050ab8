"""A Celery application that knows nothing of the adapter. Its task publishes receipts of its start and its end."""

import os
import time
from typing import Any

from celery import Celery
from kombu import Queue
from receipt import receipt  # type: ignore[import-not-found]  # mounted beside this module

QUEUE = os.environ["TASKQUEUE_QUEUES"]

app = Celery("audited", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=os.environ["ACKS"] == "late",
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=int(os.environ["PREFETCH_MULTIPLIER"]),
    worker_concurrency=int(os.environ["TASKQUEUE_CONCURRENCY"]),
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    # The broker confirms a receipt before the task continues: a receipt outlives its worker.
    broker_transport_options={"confirm_publish": True},
    task_default_queue=QUEUE,
    task_queues=[Queue(QUEUE, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
)


def _audited(self: Any, seconds: float, *_: object) -> None:  # noqa: ANN401 - Celery has no types
    if seconds:  # otherwise the cost of the worker itself is measured
        _publish_receipt("started", self.request)
        time.sleep(seconds)
        _publish_receipt("done", self.request)


def _publish_receipt(what: str, request: Any) -> None:  # noqa: ANN401 - likewise
    body = receipt(what, request.id, request, redelivered=request.delivery_info["redelivered"])
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(body, exchange="", routing_key="receipts", retry=True)


audited = app.task(_audited, name="audited", bind=True)
