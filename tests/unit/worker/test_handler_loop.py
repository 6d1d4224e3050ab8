"""Handlers on a loop and in threads of their own, on real threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from typing_extensions import override

from taskqueue_worker.bridge import Inbox
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.run import Run
from taskqueue_worker.run_outcome import Outcome, Status
from taskqueue_worker.runner import Runner
from taskqueue_worker.stacks import stack_of_run, stack_of_thread
from taskqueue_worker.tasks import Context, Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import FakePublisher, delivery, task_publisher


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def handlers() -> AsyncIterator[HandlerLoop]:
    handlers = HandlerLoop(asyncio.new_event_loop())
    handlers.start_thread()
    yield handlers
    handlers.close()


@pytest.fixture
async def inbox() -> Inbox:
    inbox = Inbox(asyncio.get_running_loop())
    inbox.open_pipe()
    return inbox


@pytest.fixture
async def runner(registry: Registry, handlers: HandlerLoop, inbox: Inbox) -> Runner:
    return Runner(registry, handlers, inbox, task_publisher(FakePublisher()), timeout_seconds=100, threads=2)


class OddError(BaseException):
    """Neither an Exception nor one that Python knows."""

    @override
    def __str__(self) -> str:
        raise SystemExit


ERRORS = [LookupError, StopIteration, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, OddError]


@pytest.mark.parametrize("error", [*ERRORS, asyncio.CancelledError])
async def test_whatever_a_handler_raises_fails_its_task_and_the_next_one_runs(
    registry: Registry, runner: Runner, error: type[BaseException]
) -> None:
    @registry.task("thread")
    def in_thread(_: object) -> None:
        raise error

    @registry.task("loop")
    async def on_loop(_: object) -> None:
        raise error

    @registry.task("next")
    async def after(_: object) -> None: ...

    for kind in ("thread", "loop"):
        outcome = await runner.run(delivery(kind))
        assert outcome.status is Status.FAILED
        assert outcome.failure is not None
        assert outcome.failure.type
        assert outcome.still_running is None
        assert (await runner.run(delivery("next"))).status is Status.DONE


@pytest.mark.parametrize("error", ERRORS)
async def test_whatever_a_background_task_of_a_handler_raises_the_loop_of_the_handlers_goes_on(
    registry: Registry, runner: Runner, error: type[BaseException]
) -> None:
    async def raise_it() -> None:
        raise error

    @registry.task("t")
    async def handler(_: object) -> None:
        task = asyncio.ensure_future(raise_it())
        # Otherwise asyncio prints an exception that was never retrieved, at the end of the tests.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        asyncio.get_running_loop().call_soon(lambda: None)
        await asyncio.wait({task})

    @registry.task("stop")
    async def stop(_: object) -> None:
        asyncio.get_running_loop().stop()

    @registry.task("next")
    async def after(_: object) -> None: ...

    assert (await runner.run(delivery("t"))).status is Status.DONE
    assert (await runner.run(delivery("stop"))).status is Status.DONE
    assert (await runner.run(delivery("next"))).status is Status.DONE


async def test_a_task_fails_if_a_plain_wrapper_returns_the_coroutine_of_its_handler(
    registry: Registry, runner: Runner
) -> None:
    async def handler(_: object) -> None: ...

    @registry.task("t")
    def wrapper(payload: object) -> Coroutine[None, None, None]:
        return handler(payload)

    outcome = await runner.run(delivery())
    assert outcome.status is Status.FAILED
    assert outcome.failure is not None
    assert_approved("worker.coroutine_not_awaited", outcome.failure.text)


async def test_the_text_of_an_exception_is_made_in_the_thread_of_its_handler(
    registry: Registry, runner: Runner
) -> None:
    threads = []

    class TextError(Exception):
        @override
        def __str__(self) -> str:
            threads.append(threading.current_thread())
            return "a text"

    @registry.task("t")
    async def handler(_: object) -> None:
        raise TextError

    outcome = await runner.run(delivery())
    assert outcome.failure is not None
    assert outcome.failure.text == "a text"
    assert threading.current_thread() not in threads


async def test_calls_arrive_in_order_from_several_threads(inbox: Inbox) -> None:
    arrived: list[tuple[int, int]] = []

    def post_all(sender: int) -> None:
        for number in range(2000):
            inbox.post(arrived.append, (sender, number))

    threads = [threading.Thread(target=post_all, args=(sender,)) for sender in range(3)]
    for thread in threads:
        thread.start()
    await _until(lambda: len(arrived) == 6000)
    for sender in range(3):
        assert [number for by, number in arrived if by == sender] == list(range(2000))


async def test_a_held_loop_is_seen_with_its_holder_and_its_stack_and_delays_no_other_loop(
    registry: Registry, runner: Runner, handlers: HandlerLoop
) -> None:
    release = threading.Event()

    @registry.task("hold")
    async def hold(_: object) -> None:
        release.wait()

    held = delivery("hold")
    running = asyncio.ensure_future(runner.run(held))
    await _until(lambda: runner.holder is held)
    handlers.check()
    handlers.check()
    await _until(lambda: handlers.held_seconds > 0.05)
    assert "in hold" in stack_of_thread(handlers.thread)
    assert not running.done()
    release.set()
    assert (await running).status is Status.DONE
    await _until(lambda: handlers.held_seconds == 0)
    assert runner.holder is None


async def test_an_overdue_task_whose_loop_another_handler_holds_is_requeued_and_its_handler_does_not_go_on(
    registry: Registry, handlers: HandlerLoop, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskqueue_worker.bounds.HELD_SECONDS", 0.1)
    monkeypatch.setattr("taskqueue_worker.runner.STOP_GRACE_SECONDS", 0.1)
    runner = Runner(registry, handlers, inbox, task_publisher(FakePublisher()), timeout_seconds=2, threads=1)
    release, went_on = threading.Event(), threading.Event()

    @registry.task("hold")
    async def hold(_: object) -> None:
        release.wait()

    @registry.task("begun")
    async def begun(_: object) -> None:
        await asyncio.sleep(0)
        went_on.set()

    def start(kind: str) -> "asyncio.Future[Outcome]":
        return asyncio.ensure_future(runner.run(delivery(kind)))

    outcomes = [start("hold"), start("begun")]
    await _until(lambda: runner.holder is not None)
    handlers.check()
    holding, *held_up = await asyncio.gather(*outcomes, start("begun"))
    assert (holding.status, holding.is_lost) == (Status.TIMEOUT, True)
    assert [(outcome.status, outcome.is_lost) for outcome in held_up] == [(Status.REQUEUED, False)] * 2
    runs = [outcome.still_running for outcome in (holding, *held_up)]
    assert isinstance(runs[0], Run)
    assert "in hold" in stack_of_run(runs[0])
    release.set()
    await asyncio.gather(*(run.ended for run in runs if run is not None))
    assert not went_on.is_set()


async def test_the_stack_of_a_handler_that_waits_shows_what_it_awaits(
    registry: Registry, handlers: HandlerLoop, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskqueue_worker.runner.STOP_GRACE_SECONDS", 0.1)
    runner = Runner(registry, handlers, inbox, task_publisher(FakePublisher()), timeout_seconds=0.1, threads=1)
    stop = asyncio.Event()

    async def inner() -> None:
        while not stop.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    @registry.task("t")
    async def handler(_: object) -> None:
        await inner()

    outcome = await runner.run(delivery())
    assert (outcome.status, outcome.is_lost) == (Status.TIMEOUT, True)
    assert outcome.still_running is not None
    stack = stack_of_run(outcome.still_running)
    assert stack.index("in handler") < stack.index("in inner")
    stop.set()
    await outcome.still_running.ended


async def test_handlers_see_on_their_own_loop_that_the_worker_is_leaving(
    registry: Registry, runner: Runner, handlers: HandlerLoop
) -> None:
    @registry.task("t")
    async def handler(_: object, context: Context) -> None:
        await context.draining.wait()

    running = asyncio.ensure_future(runner.run(delivery()))
    handlers.notify_draining()
    assert (await running).status is Status.DONE


async def test_close_ends_what_user_code_left_on_the_loop(
    registry: Registry, runner: Runner, handlers: HandlerLoop
) -> None:
    left: dict[str, Any] = {}

    @registry.task("t")
    async def handler(_: object) -> None:
        left["task"] = asyncio.ensure_future(asyncio.sleep(1000))

    await runner.run(delivery())
    handlers.close()
    assert left["task"].cancelled()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a state of another thread
            await asyncio.sleep(0.005)


async def test_a_task_that_ended_before_a_handler_holds_the_loop_is_noticed_meanwhile(
    registry: Registry, runner: Runner
) -> None:
    is_held, release = threading.Event(), threading.Event()

    @registry.task("ends")
    async def ends(_: object) -> None: ...

    @registry.task("holds")
    async def holds(_: object) -> None:
        is_held.set()
        release.wait(30)

    both = [asyncio.ensure_future(runner.run(delivery(kind))) for kind in ("ends", "holds")]
    try:
        await asyncio.to_thread(is_held.wait, 30)
        runner.notice_ends()
        assert (await asyncio.wait_for(both[0], 10)).status is Status.DONE
        assert not both[1].done()
    finally:
        release.set()
    assert (await both[1]).status is Status.DONE
