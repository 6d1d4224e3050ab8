"""A dramatiq application whose task lasts as long as its message says."""

import os
import time
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

QUEUE = os.environ["TASKQUEUE_QUEUES"]


class Broker(RabbitmqBroker):  # type: ignore[misc]  # dramatiq has no types
    """Uses the queue that is declared."""

    def _declare_queue(self, queue_name: str) -> Any:  # noqa: ANN401 - likewise
        return self.channel.queue_declare(queue=queue_name, passive=True)


dramatiq.set_broker(Broker(url=os.environ["RABBITMQ_URL"]))


@dramatiq.actor(actor_name="sleep", queue_name=QUEUE, max_retries=0)  # type: ignore[untyped-decorator]  # dramatiq has no types
def sleep(seconds: float) -> None:
    time.sleep(seconds)
