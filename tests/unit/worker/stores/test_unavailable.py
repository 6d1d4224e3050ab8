"""The end of a task is reported again while its store is away."""

import asyncio

import pytest

from taskqueue_worker.stores import StoreUnavailableError
from taskqueue_worker.stores.unavailable import report_end


@pytest.mark.looptime
@pytest.mark.parametrize("tries", [1, 3])
async def test_the_last_report_is_followed_by_no_pause(tries: int) -> None:
    reported_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def report() -> bool:
        reported_at.append(loop.time())
        raise StoreUnavailableError("away")

    assert await report_end(report, tries) == "away"
    assert (len(reported_at), loop.time()) == (tries, reported_at[-1])
    assert sorted(set(reported_at)) == reported_at, "a pause before each further report"
