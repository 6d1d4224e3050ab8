"""Tasks of `pool="process"`: what the loss of a child, a timeout and the end of the worker do to their messages."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.processes import exists, numbers, parent, wait_for_end
from tests.integration.worker.retry_path import declare_retry_path
from tests.integration.worker.running_worker import RunningWorker
from tests.integration.worker.test_linear import delayed

__all__ = ["delayed"]
ATTEMPTS = 3
MODULES = "child_tasks,ledger_tasks"


@pytest.fixture
def pid(tmp_path: Path) -> Path:
    """A file to which a task writes the numbers of its processes."""
    return tmp_path / "pid"


async def wait_for_lost(worker: RunningWorker, queue: DeclaredQueue) -> dict[str, Any]:
    """Wait for a dead letter with all its attempts, and return its headers."""
    ended = await worker.wait_for_log(times=ATTEMPTS, event="task", type="child.end", status="worker_lost")
    assert [line["attempt"] for line in ended] == [1, 2, 3]
    letter = await queue.get(queue.dead_letters)
    assert letter.headers["x-failure-reason"] == "worker_lost"
    assert letter.headers["x-attempt"] == ATTEMPTS
    await queue.wait_for_ready(0)
    assert not worker.has_ended
    return dict(letter.headers)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_task_that_ends_its_child_is_tried_again_alone_and_dead_lettered_and_the_worker_goes_on(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate, kind: str
) -> None:
    queue = await declare_queue(kind)
    await queue.publish("child.work", n=1, gate=str(gate))
    await queue.publish("child.end", n=0, how="segfault")
    worker = start_worker(queues=queue.name, concurrency="2", max_attempts=str(ATTEMPTS), modules=MODULES)
    await worker.wait_for_log(event="task", type="child.end", attempt=1, settled=True)
    gate.open()
    headers = await wait_for_lost(worker, queue)
    assert "11 (SIGSEGV)" in headers["x-failure-text"]
    assert 'child_tasks.py", line' in worker.output, "the stack of the child"
    (done,) = worker.lines(event="task", type="child.work")
    assert (done["status"], done["redelivered"]) == ("done", False)
    await queue.publish("child.work", n=2)
    await worker.wait_for_log(event="task", type="child.work", status="done", task_id="id-2")
    assert worker.metric('taskqueue_worker_children_ended_total{reason="lost"}') == ATTEMPTS
    assert worker.metric("taskqueue_worker_children") == 1
    assert worker.metric(f'taskqueue_worker_dead_letters_total{{queue="{queue.name}",reason="worker_lost"}}') == 1


async def test_the_broker_delays_a_task_that_ends_its_child_with_linear(
    start_worker: StartWorker, delayed: DeclaredQueue
) -> None:
    await delayed.publish("child.end", n=0, how="exit")
    worker = start_worker(queues=delayed.name, max_attempts=str(ATTEMPTS), retry_type="Linear", modules=MODULES)
    headers = await wait_for_lost(worker, delayed)
    assert "exit code 3" in headers["x-failure-text"]
    assert len(worker.lines(event="retry left to the broker")) == ATTEMPTS - 1


async def test_delay_queues_delay_a_task_that_ends_its_child(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    await declare_retry_path(queue)
    await queue.publish("child.end", n=0, how="SIGKILL")
    worker = start_worker(
        queues=queue.name, max_attempts=str(ATTEMPTS), retry_initial_seconds="1", retry_max_seconds="1", modules=MODULES
    )
    headers = await wait_for_lost(worker, queue)
    assert "9 (SIGKILL)" in headers["x-failure-text"]
    assert len(worker.lines(event="retry stored")) == ATTEMPTS - 1


async def test_a_child_is_killed_at_the_timeout_of_its_task_and_its_slot_is_free(
    start_worker: StartWorker, queue: DeclaredQueue, pid: Path
) -> None:
    await queue.publish("child.compute", n=0, pid=str(pid))
    await queue.publish("child.work", n=1)
    worker = start_worker(queues=queue.name, task_timeout_seconds="3", modules=MODULES)
    await worker.wait_for_log(event="task", type="child.compute", status="timeout", settled=True)
    await worker.wait_for_log(event="task", type="child.work", status="done", settled=True)
    wait_for_end(*numbers(pid))
    assert worker.metric('taskqueue_worker_children_ended_total{reason="timeout"}') == 1
    assert not worker.lines(event="handler does not stop")


async def test_a_child_that_exceeds_its_memory_limit_is_killed_and_one_is_replaced_after_its_tasks(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("child.allocate", n=0, mib=500, gate="/never")
    await queue.publish("child.work", n=1)
    await queue.publish("child.work", n=2)
    worker = start_worker(
        queues=queue.name, max_attempts="1", child_memory_mib="100", child_max_tasks="2", modules=MODULES
    )
    letter = await queue.get(queue.dead_letters)
    assert "limit is 100 MiB" in str(letter.headers["x-failure-text"])
    await worker.wait_for_log(event="task", type="child.work", status="done", times=2)
    assert worker.metric('taskqueue_worker_children_ended_total{reason="memory_limit"}') == 1
    assert worker.metric('taskqueue_worker_children_ended_total{reason="recycled_tasks"}') == 1


async def test_sigterm_to_all_processes_lets_the_task_in_a_child_finish(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate, pid: Path, taskqueue: str
) -> None:
    operator = await FakeOperator(queue.channel, taskqueue).listen()
    await queue.publish("child.work", n=1, gate=str(gate), pid=str(pid))
    worker = start_worker(queues=queue.name, modules=MODULES)
    (child,) = numbers(pid)
    for process in (child, parent(child)):
        os.kill(process, signal.SIGTERM)
    worker.terminate()
    report = await operator.wait_for_report(state="leaving")
    assert report["in_flight"] == worker.metric("taskqueue_worker_in_flight") == 1
    assert exists(child)
    gate.open()
    await worker.wait_for_log(event="task", type="child.work", status="done", settled=True)
    assert await worker.exit_code() == 0
    assert not exists(child)


async def test_a_second_sigterm_kills_the_child_and_requeues_its_task(
    start_worker: StartWorker, queue: DeclaredQueue, pid: Path
) -> None:
    await queue.publish("child.compute", n=1, pid=str(pid))
    worker = start_worker(queues=queue.name, modules=MODULES)
    processes = numbers(pid)
    worker.terminate()
    await worker.wait_for_log(event="leaving")
    worker.terminate()
    assert await worker.exit_code() == 0
    wait_for_end(*processes)
    await queue.wait_for_ready(1)


async def test_sigkill_of_the_worker_ends_its_children(
    start_worker: StartWorker, queue: DeclaredQueue, pid: Path
) -> None:
    await queue.publish("child.compute", n=1, pid=str(pid))
    worker = start_worker(queues=queue.name, modules=MODULES)
    child, own = numbers(pid)
    server = parent(child)
    worker.kill()
    wait_for_end(child, own, server)


async def test_middleware_around_a_task_in_a_child_sees_its_result_and_the_loss_of_the_child(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("child.surrounded", n=1)
    await queue.publish("child.surrounded", n=2, how="exit")
    worker = start_worker(queues=queue.name, max_attempts="1", modules=MODULES)
    await eventually("two tasks", lambda: len(worker.ledger) == 2)
    assert worker.ledger == ["returned 1", "raised ChildLostError"]
    await worker.wait_for_log(event="task", type="child.surrounded", status="worker_lost", settled=True)


async def test_a_task_whose_fork_server_starts_slower_than_its_timeout_is_requeued_and_uses_no_attempt(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish("child.work", n=1)
    modules = f"slow_fork_server,short_periods,{MODULES}"
    worker = start_worker(queues=queue.name, task_timeout_seconds="1", modules=modules)
    await worker.wait_for_log(event="task", status="requeued", settled=True)
    gate.open()
    await worker.wait_for_log(event="task", status="done", attempt=1, settled=True)
    assert not worker.lines(event="leaving")
