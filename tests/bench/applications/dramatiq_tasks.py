"""A dramatiq application that knows nothing of the adapter. Its task publishes receipts of its start and its end."""

import json
import os
import threading
import time
from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from receipt import receipt  # type: ignore[import-not-found]  # mounted beside this module

QUEUE = os.environ["TASKQUEUE_QUEUES"]
URL = os.environ["BROKER_URL"]

_local = threading.local()


class Broker(RabbitmqBroker):  # type: ignore[misc]  # dramatiq has no types
    """Uses the queue that is declared, as the queue of a TaskQueue is."""

    def _declare_queue(self, queue_name: str) -> Any:  # noqa: ANN401 - likewise
        return self.channel.queue_declare(queue=queue_name, passive=True)


dramatiq.set_broker(Broker(url=URL))


@dramatiq.actor(actor_name="audited", queue_name=QUEUE, max_retries=0)  # type: ignore[untyped-decorator]  # likewise
def audited(task: str, seconds: float) -> None:
    """Run for `seconds`; a task of 0 seconds does nothing. dramatiq does not show the headers of the message."""
    if seconds:
        _publish_receipt("started", task)
        time.sleep(seconds)
        _publish_receipt("done", task)


def _publish_receipt(what: str, task: str) -> None:
    """Publish on a channel of this thread. The broker confirms the receipt, so that it outlives its worker."""
    if not hasattr(_local, "channel"):
        parameters = pika.URLParameters(URL)
        parameters.heartbeat = 0  # they are not answered while a task sleeps
        _local.channel = pika.BlockingConnection(parameters).channel()
        _local.channel.confirm_delivery()
    body = json.dumps(receipt(what, task, {}, redelivered=False)).encode()
    _local.channel.basic_publish("", "receipts", body)
