"""Runs inside Celery's workers, in place of `audited`: a task that leaves receipts of its start and its end."""

import os
import socket
import time
from typing import Any

from kombu import Queue  # type: ignore[import-not-found]  # it is in the image alone
from tasks import app  # type: ignore[import-not-found]  # the sample, beside which this is mounted

# A receipt is confirmed before the task goes on: it survives whatever happens to its worker.
app.conf.broker_transport_options = {"confirm_publish": True}

if "DECLARED" in os.environ:
    # By the operator. Celery would declare another queue of this name, and has to know that this one has no global QoS.
    app.conf.task_queues = [
        Queue(os.environ["DECLARED"], no_declare=True, queue_arguments={"x-queue-type": "quorum"}),
    ]


def _audited(self: Any, seconds: float) -> None:  # noqa: ANN401  a task of Celery's, which has no types
    _leave("started", self.request)
    time.sleep(seconds)
    _leave("done", self.request)


def _leave(what: str, request: Any) -> None:  # noqa: ANN401  what a task of Celery's knows of its message
    receipt = {
        "what": what,
        "task": request.id,
        "pod": socket.gethostname(),
        "at": time.time(),
        "redelivered": request.delivery_info["redelivered"],
        "acquired": request.get("x-acquired-count", 0),
        "failed": request.get("x-delivery-count", 0),
    }
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(receipt, exchange="", routing_key="receipts", retry=True)


audited = app.task(_audited, name="audited", bind=True)
