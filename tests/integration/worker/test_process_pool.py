"""Children of a worker as real processes, without a broker."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
import structlog

from taskqueue_worker import Context, Requeue
from taskqueue_worker.pools.child_exit import ChildLostError, EndReason
from taskqueue_worker.pools.child_limits import ChildLimits
from taskqueue_worker.pools.messages import ChildFailureError, ResultTooLargeError
from taskqueue_worker.pools.process_pool import ProcessCall, ProcessPool
from tests.integration.worker.processes import exists, numbers, parent, wait_for_end
from tests.integration.worker.running_worker import HERE, SOURCE

MIB = 1024 * 1024
CONTEXT = Context(
    task_id="id",
    type="t",
    routing_key="key",
    headers={"at": datetime(2026, 1, 1, tzinfo=UTC)},
    redelivered=False,
    deadline=datetime(2026, 1, 2, tzinfo=UTC),
    attempt=1,
    state=None,
    draining=asyncio.Event(),
    log=structlog.get_logger(),
)

WITH_CONTEXT = {"child.who", "child.work"}


class Counted:
    """How many children have started, and why others ended."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: list[EndReason] = []

    def child_started(self) -> None:
        self.started += 1

    def child_ended(self, reason: EndReason) -> None:
        self.ended.append(reason)


class MakePool(Protocol):
    def __call__(self, limits: ChildLimits = ...) -> ProcessPool: ...


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def make_pool(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePool]:
    monkeypatch.setenv("PYTHONPATH", f"{SOURCE}{os.pathsep}{HERE}")
    pools: list[ProcessPool] = []

    def make(limits: ChildLimits = ChildLimits()) -> ProcessPool:  # noqa: B008 - frozen
        pools.append(ProcessPool(("child_tasks",), limits, counted))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def pool(make_pool: MakePool) -> ProcessPool:
    return make_pool()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def run(pool: ProcessPool, type: str, payload: object = None, *, wants_result: bool = True) -> Any:  # noqa: A002, ANN401
    arguments = (payload, CONTEXT) if type in WITH_CONTEXT else (payload,)
    return pool.call(type, wants_result=wants_result)(*arguments)


@pytest.fixture
def computing(
    pool: ProcessPool, threads: ThreadPoolExecutor, tmp_path: Path
) -> tuple[ProcessCall, Future[object], list[int]]:
    """A task that computes without end: its call, its end, and its processes."""
    call = pool.call("child.compute", wants_result=False)
    ended = threads.submit(call, {"pid": str(tmp_path / "pid")})
    return call, ended, numbers(tmp_path / "pid")


def test_a_handler_gets_payload_and_context_and_its_result_returns(pool: ProcessPool) -> None:
    result = run(pool, "child.who", {"n": 2**70})
    assert result["payload"] == {"n": 2**70}
    assert result["pid"] != os.getpid()
    for name in ("task_id", "type", "deadline", "headers"):
        assert result[name] == getattr(CONTEXT, name)
    assert result["draining"] is False
    assert run(pool, "child.who", wants_result=False) is None


def test_one_child_runs_one_task_after_the_other_and_the_modules_are_imported_once(
    pool: ProcessPool, threads: ThreadPoolExecutor, counted: Counted, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waiting = threads.submit(run, pool, "child.work", {"gate": str(gate), "pid": str(tmp_path / "pid")})
    (other,) = numbers(tmp_path / "pid")
    first, second = run(pool, "child.who"), run(pool, "child.who")
    gate.touch()
    waiting.result()
    assert first["pid"] == second["pid"] != other
    assert counted.started == 2
    assert first["imported_by"] not in {first["pid"], other, os.getpid()}


def test_an_exception_has_its_class_and_the_stack_in_the_child(pool: ProcessPool, counted: Counted) -> None:
    with pytest.raises(LookupError, match="no such image") as raised:
        run(pool, "child.end", {"how": "raise"})
    assert "child_tasks.py" in str(raised.value.__cause__)
    with pytest.raises(ChildFailureError, match=r"child_tasks\.TwoArgumentsError: one two"):
        run(pool, "child.end", {"how": "two arguments"})
    with pytest.raises(SystemExit):
        run(pool, "child.end", {"how": "sys.exit"})
    with pytest.raises(ResultTooLargeError, match="may send 16777216"):
        run(pool, "child.answer", {"mib": 17})
    assert counted.started == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [("exit", "exit code 3"), ("segfault", r"11 \(SIGSEGV\)"), ("SIGKILL", r"9 \(SIGKILL\).*\d+ MiB.*lack of memory")],
)
def test_a_child_that_ends_fails_only_its_task(  # noqa: PLR0913, PLR0917 - the parts of the scene
    pool: ProcessPool, threads: ThreadPoolExecutor, counted: Counted, tmp_path: Path, how: str, text: str
) -> None:
    gate = tmp_path / "gate"
    beside = threads.submit(run, pool, "child.work", {"n": 1, "gate": str(gate), "pid": str(tmp_path / "pid")})
    numbers(tmp_path / "pid")
    with pytest.raises(ChildLostError, match=text):
        run(pool, "child.end", {"how": how})
    assert counted.ended == [EndReason.LOST]
    gate.touch()
    assert beside.result() == {"n": 1, "draining": False}


def test_a_cancelled_task_ends_at_once_with_all_its_processes(
    computing: tuple[ProcessCall, Future[object], list[int]], pool: ProcessPool, counted: Counted
) -> None:
    call, ended, (child, own) = computing
    call.cancel(EndReason.TIMEOUT)
    with pytest.raises(asyncio.CancelledError):
        ended.result()
    assert not exists(child)
    wait_for_end(own)
    assert counted.ended == [EndReason.TIMEOUT]
    assert run(pool, "child.who")["pid"] != child


def test_a_call_that_is_cancelled_before_it_begins_reaches_no_child(pool: ProcessPool, tmp_path: Path) -> None:
    call = pool.call("child.work", wants_result=False)
    call.cancel(EndReason.CANCELLED)
    with pytest.raises(asyncio.CancelledError):
        call({"pid": str(tmp_path / "pid")}, CONTEXT)
    assert not (tmp_path / "pid").exists()


def test_a_cancellation_after_the_end_does_not_reach_the_next_task_of_the_child(
    pool: ProcessPool, counted: Counted
) -> None:
    call = pool.call("child.who", wants_result=True)
    first = call(None, CONTEXT)
    call.cancel(EndReason.TIMEOUT)
    assert isinstance(first, dict)
    assert run(pool, "child.who")["pid"] == first["pid"]
    assert counted.ended == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_worker_and_children_lets_the_task_finish(
    pool: ProcessPool, threads: ThreadPoolExecutor, tmp_path: Path, number: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    ended = threads.submit(run, pool, "child.work", {"gate": str(gate), "pid": str(tmp_path / "pid")})
    (child,) = numbers(tmp_path / "pid")
    server = run(pool, "child.who")["imported_by"]
    assert os.getpgid(child) != os.getpgid(server) != os.getpgid(0)
    for pid in (child, server):
        os.kill(pid, number)
    pool.notify_draining()
    gate.touch()
    assert ended.result()["draining"] is True
    assert run(pool, "child.who")["draining"] is True


def test_a_child_is_replaced_after_so_many_tasks(make_pool: MakePool, counted: Counted) -> None:
    pool = make_pool(ChildLimits(tasks=2))
    pids = [run(pool, "child.who")["pid"] for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert counted.ended == [EndReason.RECYCLED_TASKS] * 2
    assert not exists(pids[0])


def test_a_task_that_exceeds_the_memory_limit_ends_and_leftovers_end_the_child_before_its_next_task(
    make_pool: MakePool, counted: Counted
) -> None:
    pool = make_pool(ChildLimits(memory_bytes=100 * MIB))
    assert run(pool, "child.allocate", {"mib": 70}) == run(pool, "child.allocate", {"mib": 70})
    assert counted.ended == [], "what the tasks have released does not count"
    keeper = run(pool, "child.allocate", {"mib": 70, "keep": True})
    assert counted.ended == [EndReason.RECYCLED_MEMORY]
    assert run(pool, "child.allocate", {"mib": 70}) != keeper
    with pytest.raises(ChildLostError, match=r"held \d{3} MiB, and its limit is 100 MiB"):
        run(pool, "child.allocate", {"mib": 150, "gate": "/never"})
    assert counted.ended[1:] == [EndReason.MEMORY_LIMIT]
    run(pool, "child.who")


def test_the_pool_works_again_after_the_fork_server_was_killed(
    pool: ProcessPool, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    ended = threads.submit(run, pool, "child.work", {"gate": "/never", "pid": str(tmp_path / "pid")})
    (child,) = numbers(tmp_path / "pid")
    idle = run(pool, "child.who")
    os.kill(idle["imported_by"], signal.SIGKILL)
    with pytest.raises(ChildLostError, match="fork server ended"):
        ended.result()
    wait_for_end(child, idle["pid"])
    assert run(pool, "child.who")["imported_by"] != idle["imported_by"]


def test_a_child_that_ends_without_a_task_is_replaced(pool: ProcessPool, counted: Counted) -> None:
    child = run(pool, "child.who")["pid"]
    os.kill(child, signal.SIGKILL)
    wait_for_end(child)
    assert run(pool, "child.who")["pid"] != child
    assert counted.ended == [EndReason.LOST]


def test_the_end_of_the_pool_ends_the_fork_server_and_its_children(make_pool: MakePool, counted: Counted) -> None:
    pool = make_pool()
    who = run(pool, "child.who")
    pool.close()
    assert not exists(who["pid"])
    assert not exists(who["imported_by"])
    assert counted.ended == [EndReason.CLOSED]


def test_while_no_child_can_be_started_messages_return_and_the_other_children_work(
    pool: ProcessPool, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    ended = threads.submit(run, pool, "child.work", {"n": 1, "gate": str(gate), "pid": str(tmp_path / "pid")})
    (child,) = numbers(tmp_path / "pid")
    server = parent(child)
    soft, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (3, hard))
    with pytest.raises(Requeue, match="could not start a child"):
        run(pool, "child.who")
    resource.prlimit(server, resource.RLIMIT_NOFILE, (soft, hard))
    assert run(pool, "child.who")["imported_by"] == server
    gate.touch()
    assert ended.result()["n"] == 1


def test_a_payload_that_cannot_be_sent_costs_no_child(pool: ProcessPool, counted: Counted) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pool.call("child.work", wants_result=False)(n for n in range(1))
    assert counted.started == 0
