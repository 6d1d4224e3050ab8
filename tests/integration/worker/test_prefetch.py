"""What a worker prefetches and cannot start in time goes to other workers."""

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.gate import Gate


async def test_messages_that_wait_too_long_behind_a_task_go_to_an_idle_worker(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in range(6):
        await queue.publish(n=n, gate=str(gate))
    full = start_worker(queues=queue.name, prefetch="20")
    await full.wait_for_ledger("started 0")
    idle = start_worker(queues=queue.name)
    await idle.wait_for_log(event="consuming")
    await full.wait_for_log(event="prefetch reduced")
    await idle.wait_for_log(event="consuming")
    gate.open()
    await idle.wait_for_log(event="task", status="done")
    assert {line["attempt"] for line in (*full.lines(event="task"), *idle.lines(event="task"))} == {1}
    assert await queue.ready(queue.dead_letters) == 0
