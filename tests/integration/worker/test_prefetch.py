"""What a worker prefetches and cannot start in time goes to other workers."""

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate


async def test_a_message_of_another_queue_that_waits_too_long_goes_to_an_idle_worker(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate
) -> None:
    """A busy worker holds the first message of each of its queues, although it runs only one of them."""
    queue, other_queue = await declare_queue(), await declare_queue()
    both = f"{queue.name},{other_queue.name}"
    await queue.publish(n=0, gate=str(gate))
    full = start_worker(queues=both)
    await full.wait_for_ledger("started 0")
    await other_queue.publish(n=1)
    await full.wait_for_log(event="waiting for a free slot", queue=other_queue.name)
    assert full.get("/readyz")[0] == 200, "a worker without a free slot is no worker that fails"
    idle = start_worker(queues=both)
    await idle.wait_for_log(event="task", status="done", queue=other_queue.name)
    gate.open()
    await full.wait_for_log(event="consuming", queue=other_queue.name, times=2)
    assert {line["attempt"] for line in (*full.lines(event="task"), *idle.lines(event="task"))} == {1}


async def test_a_flood_in_one_queue_does_not_delay_the_messages_of_another(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate
) -> None:
    flooded, quiet = await declare_queue(), await declare_queue()
    for n in range(50):
        await flooded.publish(n=n, gate=str(gate))
    for n in range(50, 55):
        await quiet.publish(n=n, gate=str(gate))
    worker = start_worker(queues=f"{flooded.name},{quiet.name}")
    await worker.wait_for_log(event="consuming", queue=quiet.name)
    await worker.wait_for_log(event="consuming", queue=flooded.name)
    gate.open()
    await worker.wait_for_ledger("finished 54 draining=False")
    order = [int(entry.split()[1]) for entry in worker.started]
    assert order.index(54) < 20, "the two queues take turns"


async def test_a_message_of_a_quiet_queue_is_next_although_more_of_another_one_wait(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate
) -> None:
    flooded, quiet = await declare_queue(), await declare_queue()
    await flooded.publish("work", n=0, gate=str(gate))
    for n in range(1, 20):
        await flooded.publish("work", n=n)
    worker = start_worker(queues=f"{flooded.name},{quiet.name}", prefetch="8")
    await worker.wait_for_ledger("started 0")
    prefetched = "taskqueue_worker_prefetched"
    await eventually("the worker has all that it prefetches", lambda: worker.metric(prefetched) == 7)
    await quiet.publish("work", n="quiet")
    await eventually("the quiet message", lambda: worker.metric(prefetched) == 8)
    gate.open()
    await worker.wait_for_ledger("started 19")
    assert worker.started.index("started quiet") == 1


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


async def test_with_auto_a_worker_prefetches_short_tasks_and_leaves_long_ones_to_others(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    variables = {"queues": queue.name, "prefetch": "Auto", "modules": "short_waits,ledger_tasks"}
    first = start_worker(**variables)
    await first.wait_for_log(event="consuming", prefetch=1)
    for n in range(200):
        await queue.publish(n=n)
    await first.wait_for_log(event="consuming", prefetch=50)
    assert first.metric("taskqueue_worker_prefetch") == 50
    for n in range(200, 260):
        await queue.publish(n=n, gate=str(gate))
    await eventually("it holds as many", lambda: first.metric("taskqueue_worker_prefetched") == 49)
    await first.wait_for_log(event="prefetch reduced", prefetch=1)
    await eventually("the others are back", lambda: first.metric("taskqueue_worker_prefetched") == 0)
    second = start_worker(**variables)
    await eventually("another worker has one", lambda: len(first.started) == 202)
    await queue.wait_for_ready(58)
    gate.open()
    await eventually("all are done", lambda: sum(entry.startswith("finished") for entry in first.ledger) == 260)
    assert len(first.started) == 260, "no task ran twice"
    assert second.lines(event="task", status="done")
