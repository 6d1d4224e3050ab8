"""A drain while the quorum queue has no leader: three nodes, of which two are paused."""

from collections.abc import Iterator

import aio_pika
import pytest

from taskqueue_drain.worker_protocol import NOT_CERTAIN
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

CONNECTED, PAUSED = 0, (1, 2)


@pytest.fixture
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodeBroker]:
    with ThreeNodeBroker.start(tmp_path_factory.mktemp("three_nodes")) as three_nodes:
        yield three_nodes


@pytest.mark.fault
async def test_a_drain_that_the_broker_does_not_confirm_is_refused_and_the_worker_consumes_again(
    three_nodes: ThreeNodeBroker, start_worker: StartWorker, gate: Gate
) -> None:
    node = three_nodes.nodes[CONNECTED]
    connection = await aio_pika.connect(node.url)
    channel = await connection.channel()
    queue = await DeclaredQueue(channel, "jobs").declare()
    operator = await FakeOperator(channel, "media/jobs").listen()
    for n in range(3):
        await queue.publish(n=n, gate=str(gate))
    worker = start_worker(queues=queue.name, name="media/jobs", prefetch="3", RABBITMQ_URL=node.url)
    await worker.wait_for_ledger("started 0")
    await operator.wait_for_report(state="consuming")
    for number in PAUSED:
        three_nodes.nodes[number].pause()
    try:
        assert await operator.refused("drain") == NOT_CERTAIN
        assert operator.last["drain"] is None
        assert operator.last["in_flight"] == 1, "the running task continues"
    finally:
        for number in PAUSED:
            three_nodes.nodes[number].resume()
    gate.open()
    await eventually("all done", lambda: len(worker.lines(event="task", status="done")) == 3)
    await operator.wait_for_report(state="consuming")
    assert sorted(worker.started) == ["started 0", "started 1", "started 2"], "no task runs twice"
    assert (await operator.done("drain", seq=2))["state"] == "drained"
    await connection.close()
