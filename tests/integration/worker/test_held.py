"""Handlers that hold their loop, the interpreter or their slot."""

import re

import pytest

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

SHORT_PERIODS = "short_periods,short_heartbeat,ledger_tasks"
LATE_SECONDS = 8
"""RabbitMQ closes a connection that is silent for half as long."""
LOST_SLOT_EXIT_CODE = 70


async def test_a_handler_that_computes_on_its_loop_is_named_and_holds_neither_the_connection_nor_the_probes(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish("work", n=1, gate=str(gate))
    await queue.publish("compute", n=2, gate=str(gate))
    worker = start_worker(queues=queue.name, concurrency="2", modules=SHORT_PERIODS)
    (held, *_) = await worker.wait_for_log(event="handlers held", task_id="id-2")
    assert held["type"] == "compute"
    assert "ledger_tasks.py" in held["stack"]
    held_seconds = "taskqueue_worker_handlers_held_seconds"
    await eventually("several heartbeats", lambda: worker.metric(held_seconds) > LATE_SECONDS)
    assert worker.get("/healthz")[0] == worker.get("/readyz")[0] == 200
    gate.open()
    await worker.wait_for_log(event="task", status="done", settled=True, times=2)
    await worker.wait_for_log(event="handlers released")
    assert worker.metric(held_seconds) == 0
    assert worker.metric("taskqueue_worker_reconnects_total") == 0
    assert sorted(worker.started) == ["started 1", "started 2"]


async def test_a_worker_whose_handlers_do_not_stop_gives_the_rest_back_finishes_the_others_and_ends(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate, taskqueue: str
) -> None:
    operator = await FakeOperator(queue.channel, taskqueue).listen()
    await queue.publish("block", n=1, gate="/never")
    await queue.publish("stubborn", n=2)
    worker = start_worker(
        queues=queue.name, concurrency="3", prefetch="4", task_timeout_seconds="8", modules=SHORT_PERIODS
    )
    await worker.wait_for_ledger("started 2")
    await eventually("half of the timeout", lambda: operator.reports and (operator.last["oldest_seconds"] or 0) > 4)
    await queue.publish("work", n=3, gate=str(gate))
    await queue.publish("work", n=4)
    await worker.wait_for_ledger("started 3")
    lost = await worker.wait_for_log(event="handler does not stop", times=2)
    assert sorted((line["type"], line["task_id"]) for line in lost) == [("block", "id-1"), ("stubborn", "id-2")]
    assert all("ledger_tasks.py" in line["stack"] for line in lost)
    await queue.wait_for_ready(1)
    await operator.wait_for_report(state="leaving")
    gate.open()
    await worker.wait_for_log(event="task", status="done", task_id="id-3", settled=True)
    assert await worker.exit_code() == LOST_SLOT_EXIT_CODE
    assert {(await queue.get(queue.dead_letters)).message_id for _ in range(2)} == {"id-1", "id-2"}
    next_worker = start_worker(queues=queue.name)
    await next_worker.wait_for_ledger("started 4")
    assert sorted(worker.started) == [f"started {n}" for n in (1, 2, 3, 4)], "each message ran once"


async def test_a_handler_that_holds_its_loop_for_ever_costs_only_its_own_task(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish("work", n=1, gate=str(gate))
    await queue.publish("hold", n=2, gate="/never")
    worker = start_worker(queues=queue.name, concurrency="2", task_timeout_seconds="4", modules=SHORT_PERIODS)
    await worker.wait_for_log(event="task", status="requeued", task_id="id-1", settled=True)
    await worker.wait_for_log(event="task", status="timeout", task_id="id-2", settled=True)
    assert await worker.exit_code() == LOST_SLOT_EXIT_CODE
    assert (await queue.get(queue.dead_letters)).message_id == "id-2"
    gate.open()
    next_worker = start_worker(queues=queue.name)
    await next_worker.wait_for_log(event="task", status="done", task_id="id-1")


async def test_a_handler_that_keeps_the_interpreter_is_named_and_does_not_run_again_on_this_worker(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("keep", n=1, seconds=LATE_SECONDS)
    worker = start_worker(queues=queue.name, modules=SHORT_PERIODS)
    await worker.wait_for_log(event="interpreter held")
    assert re.search(r'ledger_tasks\.py", line \d+ in keep', worker.output), (
        "the stack, written while the interpreter was kept"
    )
    await worker.wait_for_log(event="not connected")
    await worker.wait_for_log(event="settled at redelivery", task_id="id-1", status="done", settled=True)
    assert worker.started == ["started 1"]


@pytest.mark.parametrize(("library", "modules"), [("uvloop", "ledger_tasks"), ("asyncio", "no_uvloop,ledger_tasks")])
async def test_a_worker_runs_with_and_without_uvloop(
    start_worker: StartWorker, queue: DeclaredQueue, library: str, modules: str
) -> None:
    await queue.publish("loop")
    worker = start_worker(queues=queue.name, modules=modules)
    await worker.wait_for_log(event="task", status="done")
    assert worker.ledger[0].partition(".")[0] == library
