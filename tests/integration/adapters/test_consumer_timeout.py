"""Workers ask for the consumer timeout that their tasks need: since RabbitMQ 4.3 the operator sets none for them."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from aio_pika.abc import AbstractChannel

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import AIO_PIKA, DRAMATIQ, FASTSTREAM, PIKA, TASKIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator

WORKER = {"TASKQUEUE_TASK_TIMEOUT_SECONDS": "100"}


async def wait_for_arguments(management: httpx.Client, queue: str, **expected: int) -> None:
    """Wait until the queue has one consumer, with these arguments."""

    def arguments() -> list[dict[str, Any]]:
        consumers = management.get("/api/consumers/%2F").json()
        return [dict(consumer["arguments"]) for consumer in consumers if consumer["queue"]["name"] == queue]

    await eventually(f"{queue}: {expected}", lambda: arguments() == [expected])


def timeout(seconds: int) -> dict[str, int]:
    return {"x-consumer-timeout": seconds * 1000}


@pytest.mark.parametrize(
    ("runtime", "seconds"),
    [
        # One slot: 100 s for a task from before an undrain, 100 s for each message, and a minute.
        (PIKA, 1160),
        (AIO_PIKA, 1160),
        (TASKIQ, 1160),
        (FASTSTREAM, 260),
    ],
    ids=str,
)
async def test_all_messages_may_run_to_their_timeout(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    seconds: int,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
) -> None:
    start(runtime, **WORKER)
    await operator.wait_for_report(state="consuming")
    await wait_for_arguments(management, queue.name, **timeout(seconds))
    await operator.done("drain")
    await operator.done("undrain")
    await operator.wait_for_report(state="consuming")
    await wait_for_arguments(management, queue.name, **timeout(seconds))


async def test_dramatiq_asks_for_the_time_that_messages_may_be_delayed(
    start: StartApplication, channel: AbstractChannel, operator: FakeOperator, management: httpx.Client
) -> None:
    name = f"adapter-{uuid4().hex[:8]}"
    start(DRAMATIQ, **WORKER, QUEUE=name, QUORUM="1")
    await operator.wait_for_report(state="consuming")
    # One thread and a prefetch of two.
    await wait_for_arguments(management, name, **timeout(360))
    await wait_for_arguments(management, f"{name}.DQ", **timeout(8 * 24 * 3600))
    for queue in (name, f"{name}.DQ", f"{name}.XQ"):
        await channel.queue_delete(queue)


@pytest.mark.parametrize("runtime", [TASKIQ, FASTSTREAM], ids=str)
async def test_a_classic_queue_refuses_it_and_is_consumed(
    start: StartApplication,
    runtime: Runtime,
    channel: AbstractChannel,
    operator: FakeOperator,
    management: httpx.Client,
) -> None:
    queue = await DeclaredQueue(channel, f"adapter-{uuid4().hex[:8]}", "classic").declare()
    worker = start(runtime, **WORKER, QUEUE=queue.name)
    await operator.wait_for_report(state="consuming")
    await wait_for_arguments(management, queue.name)
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    assert "x-consumer-timeout" not in worker.output, "the channel of the tasks was not closed"
