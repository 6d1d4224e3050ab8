"""A message that ends the process of its worker: counted, dead-lettered after its attempts, and no harm to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate
from tests.integration.worker.running_worker import RunningWorker

ATTEMPTS = 3


@asynccontextmanager
async def restarted(start_worker: StartWorker, count: int, **variables: str) -> AsyncIterator[list[RunningWorker]]:
    """Run so many workers, and start each again as soon as its process has ended."""
    workers = [start_worker(**variables) for _ in range(count)]
    running = list(workers)

    async def restart() -> None:
        while True:
            for place, worker in enumerate(running):
                if worker.has_ended:
                    running[place] = start_worker(**variables)
                    workers.append(running[place])
            await asyncio.sleep(0.05)

    restarting = asyncio.ensure_future(restart())
    try:
        yield workers
    finally:
        restarting.cancel()


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_message_that_ends_its_workers_is_dead_lettered_and_those_behind_it_are_done_once(
    start_worker: StartWorker, declare_queue: DeclareQueue, kind: str
) -> None:
    queue = await declare_queue(kind)
    await queue.publish("kill", n=0)
    for n in (1, 2, 3):
        await queue.publish(n=n)
    async with restarted(start_worker, 2, queues=queue.name, max_attempts=str(ATTEMPTS)) as workers:
        await queue.wait_for_ready(1, queue.dead_letters)
    ledger = workers[0].ledger
    assert ledger.count("started 0") == ATTEMPTS
    assert sorted(workers[0].started) == [*["started 0"] * ATTEMPTS, "started 1", "started 2", "started 3"]
    last_attempt = len(ledger) - ledger[::-1].index("started 0")
    assert {f"started {n}" for n in (1, 2, 3)} <= set(ledger[:last_attempt]), "innocents do not wait for the poison"
    letter = await queue.get(queue.dead_letters)
    assert letter.message_id == "id-0"
    assert letter.headers["x-failure-reason"] == "worker_lost"
    assert letter.headers["x-attempt"] == ATTEMPTS
    assert letter.headers["x-original-routing-key"] == queue.name
    await queue.wait_for_ready(0)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_tasks_that_ran_beside_a_poison_message_run_once_more_and_are_done(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    for n in (1, 2, 3):
        await queue.publish(n=n, gate=str(gate))
    await queue.publish("kill", n=0, gate=str(gate))
    variables = {"queues": queue.name, "concurrency": "4", "max_attempts": str(ATTEMPTS)}
    first = start_worker(**variables)
    await eventually("4 tasks run", lambda: len(first.started) == 4)
    first.kill()
    gate.open()
    async with restarted(start_worker, 1, **variables):
        await queue.wait_for_ready(1, queue.dead_letters)
        for n in (1, 2, 3):
            await first.wait_for_ledger(f"finished {n} draining=False")
    assert first.ledger.count("started 0") == ATTEMPTS
    for n in (1, 2, 3):
        assert first.ledger.count(f"started {n}") == 2, "cut once, and then alone"
    assert (await queue.get(queue.dead_letters)).message_id == "id-0"


async def test_a_message_that_was_given_back_before_it_began_has_used_no_attempt(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in (1, 2):
        await queue.publish(n=n, gate=str(gate))
    first = start_worker(queues=queue.name, prefetch="2")
    await eventually(
        "one prefetched", lambda: first.lines(event="listening") and first.metric("taskqueue_worker_prefetched") == 1
    )
    first.terminate()
    await queue.wait_for_ready(1)
    gate.open()
    await first.exit_code()
    second = start_worker(queues=queue.name)
    (line,) = await second.wait_for_log(event="task", status="done")
    assert (line["redelivered"], line["attempt"]) == (True, 1)
    assert first.started == ["started 1", "started 2"]
    await queue.wait_for_ready(0)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_the_worker_of_a_suspect_consumes_nothing_meanwhile_and_a_shutdown_returns_what_it_prefetched(
    start_worker: StartWorker, declare_queue: DeclareQueue, tmp_path: Path, kind: str
) -> None:
    queue, suspect, other = await declare_queue(kind), Gate(tmp_path / "suspect"), Gate(tmp_path / "other")
    await queue.publish(n=0, gate=str(suspect))
    first = start_worker(queues=queue.name)
    await first.wait_for_ledger("started 0")
    first.kill()
    await first.exit_code()
    await queue.publish(n=1, gate=str(other))
    second = start_worker(queues=queue.name, prefetch="4")
    await second.wait_for_ledger("started 1")
    await eventually("the suspect waits", lambda: second.metric("taskqueue_worker_prefetched") == 1)
    await queue.publish(n=2)
    await eventually("another task waits", lambda: second.metric("taskqueue_worker_prefetched") == 2)
    other.open()
    await eventually("the suspect runs", lambda: second.ledger.count("started 0") == 2)
    await queue.publish(n=3)
    await queue.wait_for_ready(1)
    assert second.metric("taskqueue_worker_prefetched") == 1
    second.terminate()
    await queue.wait_for_ready(2)
    suspect.open()
    assert await second.exit_code() == 0
    assert "finished 0 draining=True" in second.ledger
    assert await queue.ready() == 2
    third = start_worker(queues=queue.name)
    await third.wait_for_ledger("finished 2 draining=False")
    await third.wait_for_ledger("finished 3 draining=False")
