"""A consumer with pika by hand: with `Drainable`; and without, if the argument is `plain`."""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pika
from receipt import receipt  # type: ignore[import-not-found]  # mounted beside this module

from taskqueue_drain.pika import Drainable, Message

_local = threading.local()


def handle(message: Message) -> None:
    """Run a task: publish receipts of its start and its end."""
    _run(json.loads(message.body), message.properties, message.method)


def _run(task: dict[str, Any], properties: Any, method: Any) -> None:  # noqa: ANN401 - pika has no types
    if not task["seconds"]:  # the cost of the worker itself is measured
        return
    headers = properties.headers or {}
    _publish(receipt("started", task["task"], headers, redelivered=method.redelivered))
    time.sleep(task["seconds"])
    _publish(receipt("done", task["task"], headers, redelivered=method.redelivered))


def _publish(body: dict[str, Any]) -> None:
    """Publish on a channel of this thread. The broker confirms the receipt, so that it outlives its worker."""
    if not hasattr(_local, "channel"):
        parameters = pika.URLParameters(os.environ["BROKER_URL"])
        parameters.heartbeat = 0  # they are not answered while a task sleeps
        _local.channel = pika.BlockingConnection(parameters).channel()
        _local.channel.confirm_delivery()
    _local.channel.basic_publish("", "receipts", json.dumps(body).encode())


def _consume_plainly() -> None:
    """Run tasks on threads, so that heartbeats go on meanwhile; SIGTERM ends the process."""
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["BROKER_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=int(os.environ["TASKQUEUE_PREFETCH"]))
    threads = ThreadPoolExecutor(int(os.environ["TASKQUEUE_CONCURRENCY"]))

    def run(method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - pika has no types
        _run(json.loads(body), properties, method)
        connection.add_callback_threadsafe(partial(channel.basic_ack, method.delivery_tag))

    def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - likewise
        threads.submit(run, method, properties, body)

    channel.basic_consume(os.environ["TASKQUEUE_QUEUES"], on_message)
    channel.start_consuming()


if __name__ == "__main__":
    if "plain" in sys.argv:
        _consume_plainly()
    else:
        with Drainable.from_environment() as worker:
            worker.run(handle)
