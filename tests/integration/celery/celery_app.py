"""A Celery application that knows nothing of the adapter. Its tasks write a ledger, and may wait at a gate."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from kombu import Exchange, Queue

KIND = os.environ.get("QUEUE_TYPE", "quorum")
ROUTE = (
    {"exchange": Exchange(os.environ["EXCHANGE"], "topic", no_declare=True), "routing_key": os.environ["QUEUE"]}
    if "EXCHANGE" in os.environ
    else {}
)

app = Celery("celery_app", broker=os.environ["RABBITMQ_URL"])
app.conf.update(
    task_acks_late=bool(os.environ.get("ACKS_LATE")),
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=10,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "confirm_publish": True,
        "client_properties": {"connection_name": os.environ.get("CONNECTION_NAME", "celery")},
    },
    task_default_queue=os.environ["QUEUE"],
    task_queues=[Queue(os.environ["QUEUE"], no_declare=True, queue_arguments={"x-queue-type": KIND}, **ROUTE)],
)


def write(line: str) -> None:
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(line + "\n")


@app.task(name="work")  # type: ignore[untyped-decorator]  # Celery has no types
def work(n: int, gate: str | None = None) -> None:
    write(f"started {n}")
    while gate is not None and not Path(gate).exists():
        time.sleep(0.01)
    write(f"finished {n}")


@app.task(name="limited", rate_limit="1/m")  # type: ignore[untyped-decorator]  # Celery has no types
def limited(n: int) -> None:
    write(f"started {n}")
    write(f"finished {n}")


@app.task(name="ends", bind=True, max_retries=1)  # type: ignore[untyped-decorator]  # Celery has no types
def ends(self: Task, how: str) -> None:
    match how:
        case "failed":
            raise ValueError(how)
        case "retried" if self.request.retries == 0:
            raise self.retry(countdown=0)
        case "ignored":
            raise Ignore
        case "rejected":
            raise Reject(how)
        case "worker_lost":
            os._exit(1)
        case _:
            pass


@app.task(name="killed")  # type: ignore[untyped-decorator]  # Celery has no types
def killed(n: int) -> None:
    write(f"started {n}")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="overtime", time_limit=1)  # type: ignore[untyped-decorator]  # Celery has no types
def overtime() -> None:
    time.sleep(3600)


@app.task(name="again", bind=True)  # type: ignore[untyped-decorator]  # Celery has no types
def again(self: Any, n: int) -> None:  # noqa: ANN401 - Celery has no types
    write(f"started {n}")
    if not self.request.retries:
        raise self.retry(countdown=7)
    write(f"finished {n}")
