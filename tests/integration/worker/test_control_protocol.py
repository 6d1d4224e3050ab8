"""docs/control-protocol.md, from the side of the operator: any worker that keeps it passes.

Of the worker it asks no more than the worker contract, and tasks that do what those of ledger_tasks.py do.
WORKER_COMMAND names another worker than ours.
"""

import asyncio
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.played_operator import EPOCH, Operator
from tests.integration.worker.running import Gate, RunningWorker, Work, eventually


@pytest.fixture
def taskqueue() -> str:
    return f"media/{uuid4().hex[:8]}"


@pytest.fixture
async def operator(channel: AbstractChannel, taskqueue: str) -> Operator:
    return await Operator(channel, taskqueue).listen()


@pytest.fixture
async def worker(start: StartWorker, work: Work, taskqueue: str, operator: Operator) -> RunningWorker:
    """One that consumes, and whose operator knows it."""
    worker = start(queues=work.name, prefetch="4", name=taskqueue, pod_uid="8c0c1a52")
    await operator.heard(state="consuming")
    return worker


async def test_a_worker_says_who_it_is_and_what_it_does(
    worker: RunningWorker, operator: Operator, taskqueue: str
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


async def test_a_report_counts_tasks(worker: RunningWorker, operator: Operator, work: Work, gate: Gate) -> None:
    for n in range(3):
        await work.put(n=n, gate=str(gate))
    await work.put("fail", n=9)
    await worker.wrote("started 0")
    busy = await operator.done("report")
    assert (busy["in_flight"], busy["prefetched"], busy["idle_seconds"]) == (1, 3, 0)
    await asyncio.sleep(0.1)
    assert (await operator.done("report"))["oldest_seconds"] >= busy["oldest_seconds"] + 0.1
    gate.open()
    await work.has_ready(1, work.dead)
    await eventually("idle", lambda: _idle(operator))
    idle = operator.last
    assert (idle["completed"], idle["failed"], idle["oldest_seconds"]) == (3, 1, None)
    assert idle["busy_seconds"] >= 0.1


async def _idle(operator: Operator) -> bool:
    return bool((await operator.done("report"))["in_flight"] == 0)


async def test_a_drain_gives_the_hoard_back_at_once_while_what_runs_finishes(
    worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    for n in range(4):
        await work.put(n=n, gate=str(gate))
    await worker.wrote("started 0")
    draining = await operator.done("drain", seq=4)
    assert (draining["state"], draining["in_flight"], draining["prefetched"]) == ("draining", 1, 0)
    assert draining["drain"] == {"installation": "default", "epoch": EPOCH, "seq": 4}
    await work.has_ready(3)
    gate.open()
    drained = await operator.heard(state="drained")
    assert (drained["in_flight"], drained["completed"], drained["answer"]) == (0, 1, None), "said without being asked"
    assert [entry for entry in worker.ledger if entry.startswith("started")] == ["started 0"]
    assert await work.ready() == 3, "a drained worker takes nothing"


async def test_an_idle_worker_is_drained_by_the_first_answer_and_stays_so(
    worker: RunningWorker, operator: Operator, work: Work
) -> None:
    assert (await operator.done("drain"))["state"] == "drained"
    await work.put(n=1)
    assert (await operator.done("drain"))["state"] == "drained"
    assert await work.ready() == 1
    assert worker.ledger == []


async def test_undrain_consumes_again(worker: RunningWorker, operator: Operator, work: Work, gate: Gate) -> None:
    await work.put(n=1, gate=str(gate))
    await worker.wrote("started 1")
    await operator.done("drain")
    await work.put(n=2)
    undrained = await operator.done("undrain")
    assert undrained["drain"] is None
    await operator.heard(state="consuming")
    await work.has_ready(0)
    assert worker.ledger == ["started 1"], "no more run at once than may"
    gate.open()
    await worker.wrote("finished 2 draining=False")
    await eventually("both settled", lambda: _completed(operator, 2))
    assert [entry for entry in worker.ledger if entry.startswith("started")] == ["started 1", "started 2"]
    assert await work.ready(work.dead) == 0


async def _completed(operator: Operator, count: int) -> bool:
    return bool((await operator.done("report"))["completed"] == count)


async def test_a_worker_that_is_not_drained_is_undrained_without_a_word(
    worker: RunningWorker, operator: Operator
) -> None:
    assert (await operator.done("undrain"))["state"] == "consuming"
    assert worker.ledger == []


async def test_a_lease_ends_by_itself(worker: RunningWorker, operator: Operator, work: Work) -> None:
    await operator.done("drain", lease_seconds=1)
    await work.put(n=1)
    report = await operator.heard(state="consuming", drain=None)
    assert report["answer"] is None, "said without being asked"
    await worker.wrote("finished 1 draining=False")


async def test_each_further_drain_renews_the_lease(worker: RunningWorker, operator: Operator) -> None:
    for _ in range(5):
        await operator.done("drain", lease_seconds=2)
        await asyncio.sleep(0.7)
    assert {report["state"] for report in operator.reports[-5:]} == {"drained"}
    await operator.heard(state="consuming")
    assert worker.ledger == []


async def test_what_is_older_is_superseded(worker: RunningWorker, operator: Operator) -> None:
    await operator.done("drain", epoch=EPOCH, seq=4)
    assert await operator.refused("undrain", epoch=EPOCH, seq=3) == "superseded"
    assert await operator.refused("undrain", epoch=EPOCH - 1, seq=9) == "superseded"
    assert operator.last["state"] == "drained"
    assert (await operator.done("undrain", epoch=EPOCH + 1, seq=1))["drain"] is None
    assert await operator.refused("drain", epoch=EPOCH, seq=5) == "superseded"
    assert (await operator.heard(state="consuming"))["drain"] is None
    assert worker.ledger == []


async def test_installations_do_not_meddle_with_each_other(
    worker: RunningWorker, operator: Operator, channel: AbstractChannel, taskqueue: str
) -> None:
    other = await Operator(channel, taskqueue, installation="other").listen()
    await operator.done("drain", epoch=EPOCH)
    await other.heard(state="drained")
    for command in ("drain", "undrain"):
        assert await other.refused(command, epoch=1) == "drained by another installation"
    assert operator.last["drain"]["installation"] == "default"
    await operator.done("undrain", epoch=EPOCH)
    assert (await other.done("drain", epoch=1))["drain"] == {"installation": "other", "epoch": 1, "seq": 1}
    assert worker.ledger == []


async def test_a_duplicate_has_the_same_effect_and_the_same_answer(worker: RunningWorker, operator: Operator) -> None:
    first = await operator.done("drain", id="twice")
    again = await operator.done("drain", id="twice")
    assert (first["state"], first["drain"]) == (again["state"], again["drain"])
    assert again["state"] == "drained"
    assert worker.ledger == []


async def test_commands_to_another_incarnation_are_ignored(worker: RunningWorker, operator: Operator) -> None:
    id_ = await operator.send("drain", incarnation=uuid4().hex)
    assert (await operator.done("report"))["state"] == "consuming"
    assert not [report for report in operator.reports if report["answer"] and report["answer"]["id"] == id_]
    assert worker.ledger == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version"),
        ({"version": None}, "version"),
        ({"command": "explode"}, "command"),
        ({"incarnation": 7}, "incarnation"),
        ({"installation": None}, "installation"),
        ({"epoch": "1795000000"}, "epoch"),
        ({"seq": True}, "seq"),
        ({"lease_seconds": 0}, "lease_seconds"),
        ({"lease_seconds": None}, "lease_seconds"),
        ({"lease_seconds": 86400}, "lease_seconds"),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_name_and_does_nothing(
    worker: RunningWorker, operator: Operator, changes: dict[str, object], named: str
) -> None:
    assert named in await operator.refused("drain", **changes)
    assert operator.last["state"] == "consuming"
    assert worker.ledger == []


async def test_fields_that_are_not_known_are_ignored(worker: RunningWorker, operator: Operator) -> None:
    assert (await operator.done("drain", mood="good"))["state"] == "drained"
    assert worker.ledger == []


@pytest.mark.parametrize("body", [b"\xff", b"[]", b"{", b'{"version": 1}', b'{"id": 7, "version": 1}', b""])
async def test_what_has_no_id_is_dropped(worker: RunningWorker, operator: Operator, body: bytes) -> None:
    await operator.put(body)
    before = len(operator.reports)
    await operator.done("report")
    assert not [report for report in operator.reports[before:-1] if report["answer"]]
    assert worker.ledger == []


async def test_sigterm_is_a_drain_without_a_way_back(
    worker: RunningWorker, operator: Operator, work: Work, gate: Gate
) -> None:
    for n in range(3):
        await work.put(n=n, gate=str(gate))
    await worker.wrote("started 0")
    await operator.done("drain")
    worker.terminate()
    leaving = await operator.heard(state="leaving")
    assert (leaving["in_flight"], leaving["drain"]) == (1, None)
    for command in ("drain", "undrain"):
        assert "leaving" in await operator.refused(command)
    assert (await operator.done("report"))["state"] == "leaving"
    assert await work.ready() == 2
    gate.open()
    assert await worker.exit_code() == 0
    assert [entry for entry in worker.ledger if entry.startswith("started")] == ["started 0"]


async def test_a_drained_worker_leaves_at_once(worker: RunningWorker, operator: Operator) -> None:
    await operator.done("drain")
    worker.terminate()
    assert await worker.exit_code() == 0


async def test_a_process_that_is_started_again_is_another_incarnation(
    worker: RunningWorker, operator: Operator, start: StartWorker, work: Work, taskqueue: str
) -> None:
    former = operator.last["incarnation"]
    worker.kill()
    start(queues=work.name, name=taskqueue)
    await eventually("another incarnation", lambda: operator.last["incarnation"] != former)
    numbers = [report["number"] for report in operator.reports if report["incarnation"] != former]
    assert numbers == list(range(1, len(numbers) + 1))
    assert operator.last["pod"] == "", "outside of Kubernetes there is none"


@pytest.mark.parametrize(("command", "state"), [("drain", "drained"), ("undrain", "consuming")])
async def test_a_worker_reports_without_being_asked(
    worker: RunningWorker, operator: Operator, command: str, state: str
) -> None:
    await operator.done(command)
    await operator.heard(state=state)
    before = len(operator.reports)
    await eventually("two more reports", lambda: len(operator.reports) >= before + 2)
    assert not [report for report in operator.reports[before:] if report["answer"]]
    assert worker.ledger == []
