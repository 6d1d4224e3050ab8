"""A consumer with pika that is written by hand. Its tasks write a ledger, and may wait at a gate."""

import json

import ledger  # type: ignore[import-not-found]  # beside this file

from taskqueue_drain.pika import Drainable, Message


def handle(message: Message) -> None:
    ledger.block(**json.loads(message.body))


if __name__ == "__main__":
    with Drainable.from_environment() as worker:
        worker.run(handle)
