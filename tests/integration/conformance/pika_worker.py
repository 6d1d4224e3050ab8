"""A script with pika whose task lasts as long as its message says."""

import json
import time

from taskqueue_drain.pika import Drainable, Message


def handle(message: Message) -> None:
    time.sleep(json.loads(message.body)["seconds"])


with Drainable.from_environment() as worker:
    worker.run(handle)
