"""The queues of a worker take turns, however many messages one of them has."""

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate

FLOOD = 20
PREFETCH = 8


async def test_a_message_of_a_quiet_queue_is_next_although_more_of_another_one_wait(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate
) -> None:
    flooded, quiet = await declare_queue(), await declare_queue()
    await flooded.publish("work", n=0, gate=str(gate))
    for n in range(1, FLOOD):
        await flooded.publish("work", n=n)
    worker = start_worker(queues=f"{flooded.name},{quiet.name}", prefetch=str(PREFETCH))
    await worker.wait_for_ledger("started 0")
    prefetched = "taskqueue_worker_prefetched"
    await eventually("the worker has all that it prefetches", lambda: worker.metric(prefetched) == PREFETCH - 1)
    await quiet.publish("work", n="quiet")
    await eventually("the quiet message", lambda: worker.metric(prefetched) == PREFETCH)
    gate.open()
    await worker.wait_for_ledger(f"started {FLOOD - 1}")
    assert worker.started.index("started quiet") == 1
