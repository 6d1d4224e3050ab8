"""A handler decides what happens to its message, with Retry, Reject and Requeue."""

import pytest

from tests.integration.harness.versions import every_version
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.gate import Gate
from tests.integration.worker.retry_path import declare_retry_path
from tests.integration.worker.test_linear import delayed as delayed  # noqa: PLC0414 - a fixture

EXPONENTIAL = {"max_attempts": "2", "retry_initial_seconds": "1"}
LINEAR = {"max_attempts": "2", "retry_type": "Linear"}


async def outcomes(start_worker: StartWorker, queue: DeclaredQueue, gate: Gate, settings: dict[str, str]) -> None:
    """Run a task of each outcome in one worker."""
    await queue.publish("requeue", n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, **settings)
    requeued = await worker.wait_for_log(times=4, event="task", type="requeue", status="requeued")
    gate.open()
    (done,) = await worker.wait_for_log(event="task", type="requeue", status="done")
    assert {line["attempt"] for line in [*requeued, done]} == {1}, "above the attempts, and uses none"
    assert {line["reason"] for line in requeued} == {"busy"}
    assert set(worker.started) == {"started 1 redelivered=False"}, "no suspect"
    await queue.publish("retry", n=2)
    rejected, retried = "reject", "retry"
    letter = await queue.get(queue.dead_letters)
    assert (letter.type, letter.headers["x-failure-reason"], letter.headers["x-attempt"]) == (retried, "failed", 2)
    assert (letter.headers["x-failure-class"], letter.headers["x-failure-text"]) == (
        "taskqueue_worker.outcomes.Retry",
        "busy",
    )
    await queue.publish("reject", n=3)
    letter = await queue.get(queue.dead_letters)
    assert (letter.type, letter.headers["x-failure-reason"], letter.headers["x-attempt"]) == (rejected, "rejected", 1)
    assert letter.headers["x-failure-text"] == "no such image: 3"
    await queue.wait_for_ready(0)
    series = f'taskqueue_worker_tasks_total{{queue="{queue.name}",status="rejected",type="reject"}}'
    assert worker.metric(series) == 1


@every_version
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_outcomes_by_delay_queues(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    await declare_retry_path(queue)
    await outcomes(start_worker, queue, gate, EXPONENTIAL)


async def test_outcomes_where_the_broker_delays(start_worker: StartWorker, delayed: DeclaredQueue, gate: Gate) -> None:
    await outcomes(start_worker, delayed, gate, LINEAR)


@every_version
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_requeue_without_retries_uses_no_attempt(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    await queue.publish("requeue", n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, max_attempts="1")
    await worker.wait_for_log(times=2, event="task", type="requeue", status="requeued")
    gate.open()
    (done,) = await worker.wait_for_log(event="task", type="requeue", status="done")
    assert done["attempt"] == 1
    await queue.wait_for_ready(0)
