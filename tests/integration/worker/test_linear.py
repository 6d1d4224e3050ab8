"""Where the broker delays retries, a worker rejects what failed, and dead-letters what has used its attempts."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate
from tests.integration.worker.test_poison import restarted

ATTEMPTS = 3


@pytest.fixture
def delayed(queue: DeclaredQueue, management: httpx.Client) -> Iterator[DeclaredQueue]:
    """A queue that delays what is rejected, as the policy of the operator does it."""
    delays = {"delayed-retry-type": "failed", "delayed-retry-min": 1000, "delayed-retry-max": 2000}
    policy = {"pattern": f"^{queue.name}$", "definition": delays, "priority": 999, "apply-to": "queues"}
    path = f"/api/policies/%2F/{queue.name}"
    management.put(path, json=policy).raise_for_status()
    yield queue
    management.delete(path)


async def test_a_failing_task_is_delayed_by_the_broker_and_dead_lettered_with_its_error(
    start_worker: StartWorker, delayed: DeclaredQueue
) -> None:
    await delayed.publish("fail", n=7)
    worker = start_worker(queues=delayed.name, max_attempts=str(ATTEMPTS), retry_type="Linear")
    letter = await delayed.get(delayed.dead_letters)
    ended = await worker.wait_for_log(times=ATTEMPTS, event="task", status="failed")
    assert [line["attempt"] for line in ended] == [1, 2, 3]
    assert [line["attempt"] for line in worker.lines(event="retry left to the broker")] == [2, 3]
    expected = {
        "x-failure-reason": "failed",
        "x-failure-class": "LookupError",
        "x-failure-text": "no such image: 7",
        "x-attempt": ATTEMPTS,
        "x-original-exchange": "",
        "x-original-routing-key": delayed.name,
        "x-original-queue": delayed.name,
    }
    assert expected.items() <= letter.headers.items()
    assert letter.headers.keys() - expected.keys() == {"x-first-failure-at", "x-last-failure-at"}
    assert worker.metric(f'taskqueue_worker_retries_total{{queue="{delayed.name}"}}') == 2
    await delayed.wait_for_ready(0)


async def test_what_a_drain_gives_back_is_not_delayed_and_uses_no_attempt(
    start_worker: StartWorker, delayed: DeclaredQueue, gate: Gate
) -> None:
    for n in range(5):
        await delayed.publish(n=n, gate=str(gate))
    variables = {"queues": delayed.name, "max_attempts": str(ATTEMPTS), "retry_type": "Linear"}
    first = start_worker(**variables, prefetch="5")
    await first.wait_for_ledger("started 0")
    first.terminate()
    await delayed.wait_for_ready(4)
    gate.open()
    second = start_worker(**variables)
    ended = await second.wait_for_log(event="task", times=4)
    assert {line["attempt"] for line in ended} == {1}


async def test_a_task_that_ends_its_workers_runs_alone_at_last_and_is_dead_lettered_and_those_beside_it_are_done(
    start_worker: StartWorker, delayed: DeclaredQueue
) -> None:
    await delayed.publish("kill", n=0)
    for n in (1, 2, 3):
        await delayed.publish(n=n)
    variables = {"queues": delayed.name, "max_attempts": str(ATTEMPTS), "retry_type": "Linear", "prefetch": "4"}
    async with restarted(start_worker, 1, **variables) as workers:
        await delayed.wait_for_ready(1, delayed.dead_letters)
        await eventually("3 tasks done", lambda: sum(line.startswith("finished") for line in workers[0].ledger) == 3)
    letter = await delayed.get(delayed.dead_letters)
    assert (letter.message_id, letter.headers["x-failure-reason"]) == ("id-0", "worker_lost")
    assert workers[0].ledger.count("started 0") == ATTEMPTS + 1
    await delayed.wait_for_ready(0)
