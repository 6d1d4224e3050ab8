"""Conformance to docs/control-protocol.md: every worker that implements it passes, in any language.

The tests require only the worker contract, and tasks with the effects of those in ledger_tasks.py.
WORKER_COMMAND sets the command of another worker.
"""

import asyncio
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel

from tests.integration.harness.versions import every_version
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import EPOCH, FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.running_worker import RunningWorker


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> FakeOperator:
    return await FakeOperator(channel, taskqueue).listen()


@pytest.fixture
async def worker(start_worker: StartWorker, queue: DeclaredQueue, operator: FakeOperator) -> RunningWorker:
    """A worker that consumes and has reported to the operator."""
    worker = start_worker(queues=queue.name, prefetch="4", pod_uid="8c0c1a52")
    await operator.wait_for_report(state="consuming")
    return worker


async def test_a_report_has_the_identity_and_the_state_of_the_worker(
    worker: RunningWorker, operator: FakeOperator, taskqueue: str
) -> None:
    assert worker.ledger == []
    first, last = operator.reports[0], operator.last
    assert [report["number"] for report in operator.reports] == list(range(1, len(operator.reports) + 1))
    assert first["state"] in {"starting", "consuming"}
    assert len(bytes.fromhex(last["incarnation"])) == 16
    expected = {
        "version": 1,
        "taskqueue": taskqueue,
        "pod": "8c0c1a52",
        "state": "consuming",
        "in_flight": 0,
        "prefetched": 0,
        "oldest_seconds": None,
        "completed": 0,
        "failed": 0,
        "busy_seconds": 0,
        "task_timeout_seconds": 870,
        "drain": None,
        "answer": None,
    }
    assert last == last | expected
    assert last["idle_seconds"] >= 0


async def test_a_report_counts_tasks_and_their_run_time(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in range(3):
        await queue.publish(n=n, gate=str(gate))
    await queue.publish("fail", n=9)
    await worker.wait_for_ledger("started 0")
    busy = await operator.done("report")
    assert (busy["in_flight"], busy["prefetched"], busy["idle_seconds"]) == (1, 3, 0)
    await asyncio.sleep(0.1)
    assert (await operator.done("report"))["oldest_seconds"] >= busy["oldest_seconds"] + 0.1
    gate.open()
    await queue.wait_for_ready(1, queue.dead_letters)
    await eventually("idle", lambda: _idle(operator))
    idle = operator.last
    assert (idle["completed"], idle["failed"], idle["oldest_seconds"]) == (3, 1, None)
    assert idle["busy_seconds"] >= 0.1


async def _idle(operator: FakeOperator) -> bool:
    return bool((await operator.done("report"))["in_flight"] == 0)


@every_version
async def test_a_drain_requeues_prefetched_messages_at_once_while_the_running_task_finishes(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in range(4):
        await queue.publish(n=n, gate=str(gate))
    await worker.wait_for_ledger("started 0")
    draining = await operator.done("drain", seq=4)
    assert (draining["state"], draining["in_flight"], draining["prefetched"]) == ("draining", 1, 0)
    assert draining["drain"] == {"installation": "default", "epoch": EPOCH, "seq": 4}
    await queue.wait_for_ready(3)
    gate.open()
    drained = await operator.wait_for_report(state="drained")
    assert (drained["in_flight"], drained["completed"], drained["answer"]) == (0, 1, None), "reported without a command"
    assert worker.started == ["started 0"]
    assert await queue.ready() == 3, "a drained worker consumes nothing"


async def test_an_idle_worker_is_drained_in_its_first_answer_and_stays_drained(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue
) -> None:
    assert (await operator.done("drain"))["state"] == "drained"
    await queue.publish(n=1)
    assert (await operator.done("drain"))["state"] == "drained"
    assert await queue.ready() == 1
    assert worker.ledger == []


async def test_an_undrained_worker_consumes_again(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain")
    await queue.publish(n=2)
    undrained = await operator.done("undrain")
    assert undrained["drain"] is None
    await operator.wait_for_report(state="consuming")
    await queue.wait_for_ready(0)
    assert worker.ledger == ["started 1"], "running tasks never exceed the concurrency"
    gate.open()
    await worker.wait_for_ledger("finished 2 draining=False")
    await eventually("both settled", lambda: _completed(operator, 2))
    assert worker.started == ["started 1", "started 2"]
    assert await queue.ready(queue.dead_letters) == 0


async def _completed(operator: FakeOperator, count: int) -> bool:
    return bool((await operator.done("report"))["completed"] == count)


async def test_an_undrain_of_a_worker_that_is_not_drained_is_done(
    worker: RunningWorker, operator: FakeOperator
) -> None:
    assert (await operator.done("undrain"))["state"] == "consuming"
    assert worker.ledger == []


async def test_a_drain_ends_when_its_lease_expires(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue
) -> None:
    await operator.done("drain", lease_seconds=1)
    await queue.publish(n=1)
    report = await operator.wait_for_report(state="consuming", drain=None)
    assert report["answer"] is None, "reported without a command"
    await worker.wait_for_ledger("finished 1 draining=False")


async def test_each_further_drain_renews_the_lease(worker: RunningWorker, operator: FakeOperator) -> None:
    for _ in range(5):
        await operator.done("drain", lease_seconds=4)
        await asyncio.sleep(1)
    assert {report["state"] for report in operator.reports[-5:]} == {"drained"}
    await operator.wait_for_report(state="consuming")
    assert worker.ledger == []


async def test_a_command_with_a_lower_fencing_token_is_superseded(
    worker: RunningWorker, operator: FakeOperator
) -> None:
    await operator.done("drain", epoch=EPOCH, seq=4)
    assert await operator.refused("undrain", epoch=EPOCH, seq=3) == "superseded"
    assert await operator.refused("undrain", epoch=EPOCH - 1, seq=9) == "superseded"
    assert operator.last["state"] == "drained"
    assert (await operator.done("undrain", epoch=EPOCH + 1, seq=1))["drain"] is None
    assert await operator.refused("drain", epoch=EPOCH, seq=5) == "superseded"
    assert (await operator.wait_for_report(state="consuming"))["drain"] is None
    assert worker.ledger == []


async def test_an_installation_cannot_change_the_drain_of_another(
    worker: RunningWorker, operator: FakeOperator, channel: AbstractChannel, taskqueue: str
) -> None:
    other = await FakeOperator(channel, taskqueue, installation="other").listen()
    await operator.done("drain", epoch=EPOCH)
    await other.wait_for_report(state="drained")
    for command in ("drain", "undrain"):
        assert await other.refused(command, epoch=1) == "drained by another installation"
    assert operator.last["drain"]["installation"] == "default"
    await operator.done("undrain", epoch=EPOCH)
    assert (await other.done("drain", epoch=1))["drain"] == {"installation": "other", "epoch": 1, "seq": 1}
    assert worker.ledger == []


async def test_a_duplicate_command_has_the_same_effect_and_the_same_answer(
    worker: RunningWorker, operator: FakeOperator
) -> None:
    first = await operator.done("drain", id="twice")
    again = await operator.done("drain", id="twice")
    assert (first["state"], first["drain"]) == (again["state"], again["drain"])
    assert again["state"] == "drained"
    assert worker.ledger == []


async def test_a_command_for_another_incarnation_is_ignored(worker: RunningWorker, operator: FakeOperator) -> None:
    id_ = await operator.send("drain", incarnation=uuid4().hex)
    assert (await operator.done("report"))["state"] == "consuming"
    assert not [report for report in operator.reports if report["answer"] and report["answer"]["id"] == id_]
    assert worker.ledger == []


async def test_a_command_that_is_not_valid_is_refused_with_the_name_of_the_field_and_has_no_effect(
    worker: RunningWorker, operator: FakeOperator
) -> None:
    changes: list[tuple[str, object]] = [
        ("version", 2),
        ("version", None),
        ("command", "explode"),
        ("incarnation", 7),
        ("installation", None),
        ("epoch", "1795000000"),
        ("seq", True),
        ("lease_seconds", 0),
        ("lease_seconds", None),
        ("lease_seconds", 86400),
    ]
    for field, value in changes:
        assert field in await operator.refused("drain", **{field: value})
        assert operator.last["state"] == "consuming", f"{field}: {value}"
    assert worker.ledger == []


async def test_unknown_fields_of_a_command_are_ignored(worker: RunningWorker, operator: FakeOperator) -> None:
    assert (await operator.done("drain", unknown="field"))["state"] == "drained"
    assert worker.ledger == []


async def test_a_message_that_has_no_id_is_ignored(worker: RunningWorker, operator: FakeOperator) -> None:
    for body in (b"\xff", b"[]", b"{", b'{"version": 1}', b'{"id": 7, "version": 1}', b""):
        await operator.send_raw(body)
        before = len(operator.reports)
        await operator.done("report")
        assert not [report for report in operator.reports[before:-1] if report["answer"]], body
    assert worker.ledger == []


async def test_sigterm_drains_for_good(
    worker: RunningWorker, operator: FakeOperator, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in range(3):
        await queue.publish(n=n, gate=str(gate))
    await worker.wait_for_ledger("started 0")
    await operator.done("drain")
    worker.terminate()
    leaving = await operator.wait_for_report(state="leaving")
    assert (leaving["in_flight"], leaving["drain"]) == (1, None)
    for command in ("drain", "undrain"):
        assert "leaving" in await operator.refused(command)
    assert (await operator.done("report"))["state"] == "leaving"
    assert await queue.ready() == 2
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.started == ["started 0"]


async def test_a_drained_worker_exits_at_sigterm(worker: RunningWorker, operator: FakeOperator) -> None:
    await operator.done("drain")
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_a_restarted_process_is_another_incarnation(
    worker: RunningWorker, operator: FakeOperator, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    former = operator.last["incarnation"]
    worker.kill()
    start_worker(queues=queue.name)
    await eventually("another incarnation", lambda: operator.last["incarnation"] != former)
    numbers = [report["number"] for report in operator.reports if report["incarnation"] != former]
    assert numbers == list(range(1, len(numbers) + 1))
    assert operator.last["pod"] == "", "there is none outside Kubernetes"


@pytest.mark.parametrize(("command", "state"), [("drain", "drained"), ("undrain", "consuming")])
async def test_a_worker_reports_periodically(
    worker: RunningWorker, operator: FakeOperator, command: str, state: str
) -> None:
    await operator.done(command)
    await operator.wait_for_report(state=state)
    before = len(operator.reports)
    await eventually("two more reports", lambda: len(operator.reports) >= before + 2)
    assert not [report for report in operator.reports[before:] if report["answer"]]
    assert worker.ledger == []
