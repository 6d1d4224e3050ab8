"""What the broker may do while a Celery worker is draining."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aio_pika
import httpx
import pytest

from taskqueue_drain.worker_protocol import NOT_CERTAIN
from tests.cluster.broker import Broker
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.celery.conftest import StartCelery, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import EPOCH, FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.memory_alarm import MemoryAlarm

CONNECTED, PAUSED = 0, (1, 2)
SHORT_PATIENCE_SECONDS = 3


@asynccontextmanager
async def connected(url: str, taskqueue: str, name: str) -> AsyncIterator[tuple[DeclaredQueue, FakeOperator]]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        yield await DeclaredQueue(channel, name).declare(), await FakeOperator(channel, taskqueue).listen()


@pytest.mark.fault
async def test_a_worker_stays_drained_through_a_restart_of_the_broker(
    broker: Broker, start_celery: StartCelery, taskqueue: str, gate: Gate
) -> None:
    name = f"worker-{taskqueue.removeprefix('media/')}"
    async with connected(broker.url, taskqueue, name) as (queue, operator):
        worker = start_celery(QUEUE=name)
        await operator.wait_for_report(state="consuming")
        await send(queue, n=1, gate=str(gate))
        await worker.wait_for_ledger("started 1")
        await operator.done("drain", lease_seconds=120)
    broker.stop()
    broker.start()
    async with connected(broker.url, taskqueue, name) as (queue, operator):
        await operator.wait_for_report(state="draining", in_flight=1)
        await send(queue, n=2)
        await eventually("connected", lambda: worker.output.count("Connected to") == 2)
        gate.open()
        await operator.wait_for_report(state="drained", in_flight=0)
        assert await queue.ready() == 1
        await operator.done("undrain")
        await worker.wait_for_ledger("finished 2")
    assert sorted(worker.ledger) == ["finished 1", "finished 2", "started 1", "started 2"]


@pytest.mark.fault
async def test_a_worker_is_healthy_during_a_memory_alarm_and_consumes_after_it(
    broker: Broker, management: httpx.Client, start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    # With gossip and confirms, Celery itself waits for the broker as long as the alarm lasts.
    worker = start_celery("-I", "taskqueue_drain.celery,short_patience")
    await operator.wait_for_report(state="consuming")
    await operator.done("drain", lease_seconds=8)
    await send(queue, n=1)
    with MemoryAlarm(broker, management):
        await worker.wait_for_log("consuming again: drain lease expired")
        await asyncio.sleep(2 * SHORT_PATIENCE_SECONDS)
        assert worker.probe("/healthz") == 200, "the broker reads nothing from a connection that has published"
    await worker.wait_for_ledger("finished 1")
    await operator.wait_for_report(state="consuming", completed=1)
    assert (await operator.done("drain", seq=2))["state"] == "drained"


async def test_a_command_of_a_former_leader_is_refused(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start_celery()
    await operator.wait_for_report(state="consuming")
    await operator.done("drain", epoch=EPOCH)
    await operator.done("drain", epoch=EPOCH + 1)
    assert await operator.refused("undrain", epoch=EPOCH) == "superseded"
    await send(queue, n=1)
    assert (await operator.wait_for_report(state="drained"))["drain"]["epoch"] == EPOCH + 1
    assert worker.ledger == []


@pytest.fixture
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodeBroker]:
    with ThreeNodeBroker.start(tmp_path_factory.mktemp("three_nodes")) as three_nodes:
        yield three_nodes


@pytest.mark.fault
async def test_a_drain_without_a_queue_leader_is_refused_and_the_worker_consumes_again(
    three_nodes: ThreeNodeBroker, start_celery: StartCelery, taskqueue: str, gate: Gate
) -> None:
    node = three_nodes.nodes[CONNECTED]
    async with connected(node.url, taskqueue, "jobs") as (queue, operator):
        worker = start_celery(QUEUE=queue.name, RABBITMQ_URL=node.url)
        await operator.wait_for_report(state="consuming")
        for n in range(3):
            await send(queue, n=n, gate=str(gate))
        await worker.wait_for_ledger("started 0")
        for number in PAUSED:
            three_nodes.nodes[number].pause()
        try:
            assert await operator.refused("drain") == NOT_CERTAIN
            assert operator.last["in_flight"] == 1, "the running task continues"
        finally:
            for number in PAUSED:
                three_nodes.nodes[number].resume()
        gate.open()
        await worker.wait_for_ledger("finished 0", "finished 1", "finished 2")
        await operator.wait_for_report(state="consuming", in_flight=0)
        assert len(worker.ledger) == len(set(worker.ledger)), "no task runs twice"
        assert (await operator.done("drain", seq=2))["state"] == "drained"
