"""A consumer of pdf-tasks, as tutorials write it: the handler takes minutes, and is never cut by scaling."""

import time

from taskqueue_drain.pika import Drainable, Message


def render(message: Message) -> None:
    """Take as long as it needs; the acknowledgement follows when this returns."""
    print(f"rendering {message.body[:80]!r}", flush=True)  # noqa: T201 - what a sample shows
    time.sleep(float(message.body) if message.body.isdigit() else 1)


if __name__ == "__main__":
    with Drainable.from_environment() as worker:
        worker.run(render)
