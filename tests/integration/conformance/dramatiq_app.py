"""A dramatiq application whose task lasts as long as its message says."""

import os
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

QUEUE = os.environ["TASKQUEUE_QUEUES"]

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
broker._build_queue_arguments = lambda _: {"x-queue-type": "quorum"}  # as the kit declares its queue
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="sleep", queue_name=QUEUE, max_retries=0)  # type: ignore[untyped-decorator]  # dramatiq has no types
def sleep(seconds: float) -> None:
    time.sleep(seconds)
