"""A quorum queue without a leader ends no consumer: three nodes, two of them frozen."""

from collections.abc import Iterator

import aio_pika
import pytest

from tests.cluster.trio import Trio
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.played_operator import Operator
from tests.integration.worker.running import Gate, Work, eventually

HERE, OTHERS = 0, (1, 2)


@pytest.fixture
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with Trio.start(tmp_path_factory.mktemp("trio")) as trio:
        yield trio


@pytest.mark.fault
async def test_a_worker_that_cannot_be_sure_to_be_drained_says_so_and_goes_on(
    trio: Trio, start: StartWorker, gate: Gate
) -> None:
    node = trio.nodes[HERE]
    connection = await aio_pika.connect(node.url)
    channel = await connection.channel()
    work = await Work(channel, "jobs", "quorum").declare()
    operator = await Operator(channel, "media/jobs").listen()
    for n in range(3):
        await work.put(n=n, gate=str(gate))
    worker = start(queues=work.name, name="media/jobs", prefetch="3", RABBITMQ_URL=node.url)
    await worker.wrote("started 0")
    await operator.heard(state="consuming")
    for other in OTHERS:
        trio.nodes[other].pause()
    try:
        assert await operator.refused("drain") == "the broker does not end the consumers"
        assert operator.last["drain"] is None
        assert operator.last["in_flight"] == 1, "what runs is not hurt"
    finally:
        for other in OTHERS:
            trio.nodes[other].resume()
    gate.open()
    await eventually("all done", lambda: len(worker.lines(event="task", status="done")) == 3)
    await operator.heard(state="consuming")
    assert sorted(entry for entry in worker.ledger if entry.startswith("started")) == [
        "started 0",
        "started 1",
        "started 2",
    ], "nothing is done twice"
    assert (await operator.done("drain", seq=2))["state"] == "drained"
    await connection.close()
