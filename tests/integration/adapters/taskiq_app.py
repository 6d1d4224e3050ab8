"""A taskiq application that knows nothing of the adapter."""

import os

import ledger  # type: ignore[import-not-found]  # beside this file
from taskiq import SimpleRetryMiddleware, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

DECLARES = bool(os.environ.get("DECLARES"))


class RaisesAfterTasks(TaskiqMiddleware):  # type: ignore[misc]  # taskiq is installed for its tests only
    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[None]) -> None:
        raise RuntimeError(message, result)


broker = AioPikaBroker(
    os.environ["RABBITMQ_URL"],
    qos=int(os.environ.get("PREFETCH", "10")),
    exchange=Exchange(name=os.environ["QUEUE"]),
    task_queues=[Queue(name=os.environ["QUEUE"], declare=DECLARES)],
    dead_letter_queue=Queue(name=os.environ["QUEUE"] + ".dlq", declare=DECLARES),
    client_properties={"connection_name": os.environ.get("CONNECTION_NAME", "taskiq")},
).with_middlewares(SimpleRetryMiddleware())
if os.environ.get("RAISES_AFTER_TASKS"):
    broker.add_middlewares(RaisesAfterTasks())


@broker.task(task_name="work")  # type: ignore[untyped-decorator]  # see above
async def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    await ledger.work(n, gate, fails=fails)
