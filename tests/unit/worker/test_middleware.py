"""Middleware surrounds a handler, on the loop of the handlers."""

import asyncio
import contextvars
import threading

import pytest

from taskqueue_worker import Call, Context, Proceed, Requeue
from taskqueue_worker.run_outcome import Status
from taskqueue_worker.runner import Runner
from taskqueue_worker.stacks import stack_of_run
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import delivery, runner_of

traced: contextvars.ContextVar[str] = contextvars.ContextVar("traced")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def runner(registry: Registry) -> Runner:
    return runner_of(registry, timeout_seconds=100)


class Noting:
    """Notes when it begins and ends."""

    def __init__(self, name: str, notes: list[object]) -> None:
        self._name = name
        self._notes = notes

    async def __call__(self, _: Call, proceed: Proceed) -> object:
        self._notes.append(f"{self._name} begins")
        traced.set(self._name)
        result = await proceed()
        self._notes.append(f"{self._name} ends")
        return result


async def test_the_first_middleware_is_the_outermost(registry: Registry, runner: Runner) -> None:
    notes: list[object] = []

    @registry.task("t", around=[Noting("a", notes), Noting("b", notes)])
    async def handler(_: object) -> None:
        notes.append(traced.get())

    assert (await runner.run(delivery())).status is Status.DONE
    assert notes == ["a begins", "b begins", "b", "b ends", "a ends"]


async def test_middleware_sees_the_task_and_its_result(registry: Registry, runner: Runner) -> None:
    seen: list[object] = []

    async def middleware(call: Call, proceed: Proceed) -> object:
        seen.extend([call.context.task_id, call.payload, call.task.type, await proceed()])
        return None

    @registry.task("t", around=[middleware])
    async def handler(payload: dict[str, int], context: Context) -> int:
        assert context.task_id == "id"
        return payload["n"] + 1

    assert (await runner.run(delivery(body=b'{"n": 1}'))).status is Status.DONE
    assert seen == ["id", {"n": 1}, "t", 2]


async def test_a_task_whose_middleware_does_not_proceed_is_done_without_a_run(
    registry: Registry, runner: Runner
) -> None:
    async def duplicate(_: Call, __: Proceed) -> object:
        return None

    @registry.task("t", around=[duplicate])
    async def handler(_: object) -> None:
        raise AssertionError

    assert (await runner.run(delivery())).status is Status.DONE


async def test_what_middleware_raises_decides_about_the_message(registry: Registry, runner: Runner) -> None:
    async def open_breaker(_: Call, __: Proceed) -> object:
        raise Requeue("the mail server is away", delay=5)

    @registry.task("t", around=[open_breaker])
    async def handler(_: object) -> None: ...

    outcome = await runner.run(delivery())
    assert outcome.status is Status.REQUEUED
    assert outcome.failure is not None
    assert outcome.failure.delay_seconds == 5


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(1), asyncio.CancelledError()])
async def test_a_surrounded_def_handler_runs_in_a_thread_with_the_context_variables_of_its_middleware(
    registry: Registry, runner: Runner, error: BaseException
) -> None:
    notes: list[object] = []

    @registry.task("t", around=[Noting("a", notes)])
    def handler(payload: dict[str, bool]) -> None:
        notes.extend([traced.get(), threading.current_thread() is threading.main_thread()])
        if payload:
            raise error

    assert (await runner.run(delivery())).status is Status.DONE
    assert notes == ["a begins", "a", False, "a ends"]
    outcome = await runner.run(delivery(body=b'{"fail": true}'))
    assert outcome.status is Status.FAILED
    assert outcome.failure is not None


async def test_a_coroutine_that_a_surrounded_handler_returns_is_a_failure(registry: Registry, runner: Runner) -> None:
    async def work() -> None: ...

    @registry.task("t", around=[Noting("a", [])])
    def handler(_: object) -> object:
        return work()

    assert (await runner.run(delivery())).status is Status.FAILED


@pytest.mark.looptime
async def test_a_surrounded_task_is_cancelled_at_its_timeout(registry: Registry, runner: Runner) -> None:
    notes: list[object] = []

    async def middleware(_: Call, proceed: Proceed) -> object:
        try:
            return await proceed()
        finally:
            notes.append("released")

    @registry.task("t", around=[middleware])
    async def handler(_: object) -> None:
        await asyncio.sleep(1000)

    outcome = await runner.run(delivery())
    assert (outcome.status, outcome.still_running, notes) == (Status.TIMEOUT, None, ["released"])


@pytest.mark.looptime
async def test_a_surrounded_thread_that_does_not_stop_keeps_its_slot_and_its_stack_is_told(
    registry: Registry, runner: Runner
) -> None:
    begun, gate = threading.Event(), threading.Event()

    @registry.task("t", around=[Noting("a", [])])
    def handler(_: object) -> None:
        begun.set()
        gate.wait()

    asyncio.get_running_loop().call_later(7, runner.cancel_running)
    running = asyncio.ensure_future(runner.run(delivery()))
    await asyncio.sleep(1)
    begun.wait()
    outcome = await running
    assert outcome.status is Status.ABANDONED
    assert outcome.still_running is not None
    assert "gate.wait()" in stack_of_run(outcome.still_running)
    gate.set()
    await outcome.still_running.ended
