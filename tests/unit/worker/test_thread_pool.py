"""The threads of handlers when the system gives no further one."""

import asyncio
import threading

import pytest

from taskqueue_worker.thread_pool import ThreadPool


class Call:
    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def call_in_thread(self) -> object:
        self.calls += 1
        self.begun.set()
        self.may_end.wait()
        return "done"


@pytest.fixture
async def busy(monkeypatch: pytest.MonkeyPatch) -> tuple[ThreadPool, Call, "asyncio.Future[object]"]:
    """A pool whose only thread is busy, and which gets no other one."""
    pool, first = ThreadPool(2), Call()
    running = asyncio.ensure_future(pool.proceed(first))
    await asyncio.to_thread(first.begun.wait)

    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("task"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return pool, first, running


async def test_a_surrounded_call_waits_for_a_thread_and_runs_once(
    busy: tuple[ThreadPool, Call, "asyncio.Future[object]"],
) -> None:
    pool, first, running = busy
    second = Call()
    second.may_end.set()
    waiting = asyncio.ensure_future(pool.proceed(second))
    await asyncio.wait({waiting}, timeout=0)
    first.may_end.set()
    assert (await running, await waiting, second.calls) == ("done", "done", 1)


async def test_a_call_that_is_cancelled_while_it_waits_for_a_thread_never_runs(
    busy: tuple[ThreadPool, Call, "asyncio.Future[object]"],
) -> None:
    pool, first, running = busy
    second, third = Call(), Call()
    third.may_end.set()
    waiting = asyncio.ensure_future(pool.proceed(second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.may_end.set()
    assert (await running, await pool.proceed(third), second.calls) == ("done", "done", 0)
