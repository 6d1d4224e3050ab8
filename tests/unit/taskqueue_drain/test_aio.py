"""Waits that end early, and cancellations that are not lost."""

import asyncio
from contextlib import suppress

import pytest

from taskqueue_drain.aio import cancel, cancellation_kept, run_unless, sleep_unless

pytestmark = pytest.mark.looptime


async def test_work_that_ends_before_the_event_returns_its_result() -> None:
    async def work() -> int:
        await asyncio.sleep(1)
        return 7

    assert await run_unless(asyncio.Event(), work()) == 7


async def test_an_event_cancels_the_work_and_waits_for_its_cleanup() -> None:
    event, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            cleaned.set()

    asyncio.get_running_loop().call_later(5, event.set)
    await run_unless(event, work())
    assert cleaned.is_set()
    assert asyncio.get_running_loop().time() == 6


async def test_an_event_that_is_cleared_at_once_cancels_the_work_too() -> None:
    event = asyncio.Event()

    def set_and_clear() -> None:
        event.set()
        event.clear()

    asyncio.get_running_loop().call_later(5, set_and_clear)
    assert await run_unless(event, asyncio.sleep(1000, "slept to the end")) is None
    assert asyncio.get_running_loop().time() == 5


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await run_unless(asyncio.Event(), work())


async def test_a_sleep_ends_after_its_time_or_at_the_event() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    await sleep_unless(event, 30)
    assert loop.time() == 30
    loop.call_later(3, event.set)
    await sleep_unless(event, 30)
    assert loop.time() == 33


async def test_a_cancellation_that_is_lost_within_is_raised_in_the_end() -> None:
    async def work() -> None:
        with cancellation_kept(), suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)

    working = asyncio.ensure_future(work())
    asyncio.get_running_loop().call_later(5, working.cancel)
    await asyncio.wait({working})
    assert working.cancelled()


async def test_a_cancellation_from_before_is_not_raised_again() -> None:
    async def work() -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        with cancellation_kept():
            return 7

    working = asyncio.ensure_future(work())
    asyncio.get_running_loop().call_later(5, working.cancel)
    assert await working == 7


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1000)

    task = asyncio.ensure_future(stubborn())
    await asyncio.sleep(1)
    await cancel(task)
    assert task.cancelled()
    assert asyncio.get_running_loop().time() == 2
