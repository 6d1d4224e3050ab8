"""A taskiq application that knows nothing of the adapter."""

import os

import ledger  # type: ignore[import-not-found]  # beside this file
from taskiq import SimpleRetryMiddleware
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

DECLARES = bool(os.environ.get("DECLARES"))

broker = AioPikaBroker(
    os.environ["RABBITMQ_URL"],
    exchange=Exchange(name=os.environ["QUEUE"]),
    task_queues=[Queue(name=os.environ["QUEUE"], declare=DECLARES)],
    dead_letter_queue=Queue(name=os.environ["QUEUE"] + ".dlq", declare=DECLARES),
    client_properties={"connection_name": os.environ.get("CONNECTION_NAME", "taskiq")},
).with_middlewares(SimpleRetryMiddleware())


@broker.task(task_name="work")  # type: ignore[untyped-decorator]  # see above
async def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    await ledger.work(n, gate, fails=fails)
