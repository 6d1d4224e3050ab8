"""What the handlers of a process share begins before the worker consumes, and ends after the last task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskqueue_worker import Call, Context, Proceed
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.lifespan import Lifespan
from taskqueue_worker.run_outcome import Status
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import delivery, runner_of

pytestmark = pytest.mark.looptime


class Opened:
    """Middleware that is a context manager."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    async def __aenter__(self) -> None:
        self._notes.append("middleware opened")

    async def __aexit__(self, *_: object) -> None:
        self._notes.append("middleware closed")

    async def __call__(self, _: Call, proceed: Proceed) -> object:
        return await proceed()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def handlers() -> HandlerLoop:
    return HandlerLoop(asyncio.get_running_loop())


async def test_it_begins_and_ends_in_one_task_around_its_middleware(registry: Registry, handlers: HandlerLoop) -> None:
    notes: list[str] = []
    tasks: list[object] = []
    opened = Opened(notes)

    @registry.lifespan
    async def database() -> AsyncIterator[str]:
        notes.append("begins")
        tasks.append(asyncio.current_task())
        yield "pool"
        tasks.append(asyncio.current_task())
        notes.append("ends")

    for name in "ab":

        @registry.task(name, around=[opened])
        async def handler(_: object) -> None: ...

    lifespan = Lifespan(registry, handlers)
    assert await lifespan.begin() is None
    assert (notes, handlers.state) == (["begins", "middleware opened"], "pool")
    assert await lifespan.end() is None
    assert notes[2:] == ["middleware closed", "ends"]
    assert tasks[0] is tasks[1]


async def test_handlers_see_what_it_yields(registry: Registry, handlers: HandlerLoop) -> None:
    seen: list[object] = []

    @registry.lifespan
    async def database() -> AsyncIterator[str]:
        yield "pool"

    @registry.task("t")
    async def handler(_: object, context: Context) -> None:
        seen.append(context.state)

    assert await Lifespan(registry, handlers).begin() is None
    runner = runner_of(registry, handlers=handlers)
    assert (await runner.run(delivery())).status is Status.DONE
    assert seen == ["pool"]


async def test_without_one_nothing_begins(registry: Registry, handlers: HandlerLoop) -> None:
    lifespan = Lifespan(registry, handlers)
    assert await lifespan.begin() is None
    assert await lifespan.end() is None


@pytest.mark.parametrize("error", [OSError("no database"), SystemExit(1), asyncio.CancelledError()])
async def test_a_failure_is_returned(registry: Registry, handlers: HandlerLoop, error: BaseException) -> None:
    @registry.lifespan
    async def database() -> AsyncIterator[None]:
        if registry.lifespan_function is not None:
            raise error
        yield

    lifespan = Lifespan(registry, handlers)
    failure = await lifespan.begin()
    assert failure is not None
    assert type(error).__name__ in failure.type
    assert await lifespan.end() is None


async def test_one_that_does_not_begin_is_cancelled(registry: Registry, handlers: HandlerLoop) -> None:
    ended = _never_begins(registry)
    failure = await Lifespan(registry, handlers).begin()
    assert failure is not None
    assert_approved("worker.lifespan_timeout", failure.text)
    await ended.wait()
    assert asyncio.get_running_loop().time() == 60


async def test_one_that_has_not_begun_is_cancelled_with_the_wait(registry: Registry, handlers: HandlerLoop) -> None:
    ended = _never_begins(registry)
    lifespan = Lifespan(registry, handlers)
    beginning = asyncio.ensure_future(lifespan.begin())
    await asyncio.sleep(1)
    beginning.cancel()
    await ended.wait()
    assert await lifespan.end() is None


async def test_one_that_does_not_end_is_left(registry: Registry, handlers: HandlerLoop) -> None:
    @registry.lifespan
    async def database() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(1000)

    lifespan = Lifespan(registry, handlers)
    assert await lifespan.begin() is None
    failure = await lifespan.end()
    assert failure is not None
    assert "did not end within 5 s" in failure.text


@asynccontextmanager
async def _context_manager() -> AsyncIterator[None]:
    yield


async def _no_generator() -> None: ...


@pytest.mark.parametrize("function", [_context_manager, _no_generator, lambda: None])
def test_a_function_that_is_no_asynchronous_generator_is_refused(
    registry: Registry, function: Callable[[], Any]
) -> None:
    with pytest.raises(TypeError, match="must be an `async def` with one `yield`"):
        registry.lifespan(function)


def test_two_are_refused(registry: Registry) -> None:
    async def one() -> AsyncIterator[None]:
        yield

    async def two() -> AsyncIterator[None]:
        yield

    registry.lifespan(one)
    with pytest.raises(ValueError, match=r"one .*two"):
        registry.lifespan(two)


def _never_begins(registry: Registry) -> asyncio.Event:
    """Declare a lifespan that waits before it yields; the event is set when it was cancelled."""
    ended = asyncio.Event()

    @registry.lifespan
    async def database() -> AsyncIterator[None]:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()
        yield

    return ended
