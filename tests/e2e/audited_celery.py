"""Runs inside Celery's workers, in place of `audited`: a task that publishes receipts of its start and its end."""

import os
import time
from typing import Any

import gate  # type: ignore[import-not-found]  # mounted beside this module
from kombu import Queue
from receipt import receipt  # type: ignore[import-not-found]  # likewise
from tasks import app  # type: ignore[import-not-found]  # the sample, beside which this module is mounted

# The broker confirms a receipt before the task continues: a receipt outlives its worker.
app.conf.broker_transport_options = {"confirm_publish": True}

if "DECLARED" in os.environ:
    # The operator declares this queue. Celery would declare another queue of the same name, and does not know
    # by itself that a quorum queue has no global QoS.
    app.conf.task_queues = [
        Queue(os.environ["DECLARED"], no_declare=True, queue_arguments={"x-queue-type": "quorum"}),
    ]


def _audited(self: Any, seconds: float, gate_url: str | None = None) -> None:  # noqa: ANN401  Celery has no types
    _publish_receipt("started", self.request)
    time.sleep(seconds)
    gate.wait(gate_url)
    _publish_receipt("done", self.request)


def _publish_receipt(what: str, request: Any) -> None:  # noqa: ANN401  Celery has no types
    body = receipt(what, request.id, request, redelivered=request.delivery_info["redelivered"])
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(body, exchange="", routing_key="receipts", retry=True)


audited = app.task(_audited, name="audited", bind=True)
