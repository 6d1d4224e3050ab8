"""Celery's consumers ask for the time that their tasks need where only they can: real workers and brokers."""

from typing import Any

import httpx
import pytest

from tests.cluster.debian import NEWEST_RABBITMQ
from tests.integration.celery.conftest import StartCelery, send
from tests.integration.worker.conftest import DeclareQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator

ARGUMENT = "x-consumer-timeout"
TIMEOUT_MS = (300 * (10 + 1) + 60) * 1000
"""The prefetch multiplier of the application is 10."""


@pytest.mark.parametrize(
    ("rabbitmq_version", "kind", "seconds", "arguments"),
    [
        (NEWEST_RABBITMQ, "quorum", "300", {ARGUMENT: TIMEOUT_MS}),
        (NEWEST_RABBITMQ, "quorum", "100", {}),
        # The application says that it is a quorum queue. RabbitMQ 4.3 refuses the argument, and the worker goes on.
        (NEWEST_RABBITMQ, "classic", "300", {}),
        ("4.0", "quorum", "300", {}),
    ],
    indirect=["rabbitmq_version"],
    ids=["asks", "default suffices", "refused", "older"],
)
async def test_a_consumer_asks_for_the_time_of_its_tasks_and_consumes_where_that_is_refused(  # noqa: PLR0913, PLR0917 - fixtures
    start_celery: StartCelery,
    declare_queue: DeclareQueue,
    operator: FakeOperator,
    management: httpx.Client,
    kind: str,
    seconds: str,
    arguments: dict[str, int],
) -> None:
    queue = await declare_queue(kind)
    worker = start_celery(QUEUE=queue.name, QUEUE_TYPE="quorum", TASKQUEUE_TASK_TIMEOUT_SECONDS=seconds)
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1)
    await worker.wait_for_ledger("finished 1")

    def consumers() -> list[dict[str, Any]]:
        listed = management.get("/api/consumers").json()
        return [consumer for consumer in listed if consumer["queue"]["name"] == queue.name]

    await eventually("the consumer is listed", consumers)
    assert [dict(consumer["arguments"]) for consumer in consumers()] == [arguments]
    await operator.done("drain")
    await operator.wait_for_report(state="drained")
    await operator.done("undrain")
    await send(queue, n=2)
    await worker.wait_for_ledger("finished 2")
