"""Tasks that end their process, with late acknowledgement and `reject_on_worker_lost`: real workers and brokers."""

import asyncio
import json

import httpx
import pytest

from tests.cluster.broker import Broker
from tests.cluster.debian import NEWEST_RABBITMQ
from tests.integration.celery.conftest import ADAPTER, StartCelery, send
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import DeclareQueue
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.memory_alarm import MemoryAlarm

LATE = {"ACKS_LATE": "1", "TASKQUEUE_MAX_ATTEMPTS": "2"}


@pytest.mark.parametrize(
    ("rabbitmq_version", "kind"),
    [("4.0", "quorum"), (NEWEST_RABBITMQ, "quorum"), (NEWEST_RABBITMQ, "classic")],
    indirect=["rabbitmq_version"],
)
async def test_a_task_that_ends_its_process_is_dead_lettered_after_its_attempts_and_a_drain_uses_none(
    start_celery: StartCelery, declare_queue: DeclareQueue, operator: FakeOperator, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    worker = start_celery(QUEUE=queue.name, QUEUE_TYPE=kind, **LATE)
    await operator.wait_for_report(state="consuming")
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, "killed", n=2)
    await send(queue, n=3)
    for _ in range(4):
        await queue.wait_for_ready(0)
        await operator.done("drain")
        await queue.wait_for_ready(2)
        await operator.done("undrain")
    gate.open()
    letter = await queue.get(queue.dead_letters)
    await worker.wait_for_ledger("finished 3")
    await operator.wait_for_report(in_flight=0, prefetched=0)
    assert sorted(worker.ledger) == [
        "finished 1",
        "finished 3",
        "started 1",
        *["started 2"] * 2,
        "started 3",
    ]
    assert letter.headers["x-failure-reason"] == "worker_lost"
    assert letter.headers["x-attempt"] == 2
    assert (letter.headers["x-original-queue"], letter.headers["x-original-routing-key"]) == (queue.name, queue.name)
    assert await queue.ready() == 0


async def test_a_task_whose_message_is_compressed_is_tried_again_and_dead_lettered_uncompressed(
    start_celery: StartCelery, queue: DeclaredQueue
) -> None:
    worker = start_celery(**LATE)
    await send(queue, "killed", compressed=True, n=1)
    letter = await queue.get(queue.dead_letters)
    assert worker.ledger == ["started 1"] * 2
    assert "compression" not in letter.headers
    assert json.loads(letter.body)[1] == {"n": 1}


async def test_a_message_with_which_workers_are_lost_is_dead_lettered_after_its_attempts(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start_celery(**LATE)
    await send(queue, n=1, gate=str(gate), attempt=2)
    await worker.wait_for_ledger("started 1")
    worker.kill()
    await queue.wait_for_ready(1)
    other = start_celery(**LATE)
    letter = await queue.get(queue.dead_letters)
    assert (letter.headers["x-failure-reason"], letter.headers["x-attempt"]) == ("worker_lost", 2)
    await operator.wait_for_report(state="consuming", in_flight=0)
    assert other.ledger == ["started 1"]


@pytest.mark.fault
async def test_a_copy_waits_for_the_end_of_a_memory_alarm_and_stays_one(  # noqa: PLR0913, PLR0917 - fixtures
    start_celery: StartCelery,
    queue: DeclaredQueue,
    operator: FakeOperator,
    broker: Broker,
    management: httpx.Client,
    taskqueue: str,
    gate: Gate,
) -> None:
    worker = start_celery(*ADAPTER, "--without-gossip", "--without-heartbeat", **LATE)
    await send(queue, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, "killed", n=2)
    await queue.wait_for_ready(0)
    with MemoryAlarm(broker, management) as alarm:
        gate.open()
        await alarm.wait_until_blocked(f"{taskqueue} copies")
        await asyncio.sleep(6)  # longer than the worker waits for another answer
    letter = await queue.get(queue.dead_letters)
    assert (letter.headers["x-failure-reason"], letter.headers["x-attempt"]) == ("worker_lost", 2)
    await operator.wait_for_report(in_flight=0, prefetched=0)
    assert worker.ledger.count("started 2") == 2
    assert await queue.ready(queue.dead_letters) == await queue.ready() == 0


async def test_a_worker_that_may_not_publish_copies_says_so_and_counts_as_soon_as_it_may(
    start_celery: StartCelery, queue: DeclaredQueue, management: httpx.Client, taskqueue: str, user_url: str
) -> None:
    permissions = {"configure": "celery|.*pidbox.*", "write": "^(?!amq.default).*", "read": ".*"}
    api.put_permissions(management, taskqueue, "/", permissions)
    worker = start_celery(RABBITMQ_URL=user_url, **LATE)
    await send(queue, "killed", n=1)
    await worker.wait_for_log("not counted")
    assert "amq.default" in worker.output
    api.put_permissions(management, taskqueue, "/", permissions | {"write": ".*"})
    letter = await queue.get(queue.dead_letters)
    assert letter.headers["x-attempt"] == 2
