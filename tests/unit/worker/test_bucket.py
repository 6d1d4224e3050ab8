"""A token bucket says how long the next task waits."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker import Requeue
from taskqueue_worker.rates import LocalRate
from taskqueue_worker.rates.bucket import Bucket
from tests.calls import call


@pytest.mark.parametrize(("rate", "seconds"), [("10/s", 0.1), ("300/m", 0.2), ("1/h", 3600), ("4/d", 21_600)])
def test_a_rate_is_a_number_and_a_unit(rate: str, seconds: float) -> None:
    assert Bucket.of(rate).seconds == seconds


@pytest.mark.parametrize("rate", ["10", "0/s", "-1/s", "1.5/s", "10/w", "/s", "٣/s", "1000000000/s"])
def test_another_rate_is_refused_with_the_way_out(rate: str) -> None:
    with pytest.raises(ValueError, match='must be a number of tasks and a unit: "10/s"'):
        Bucket.of(rate)


def test_a_burst_is_bounded() -> None:
    with pytest.raises(ValueError, match="burst=0"):
        Bucket.of("1/s", 0)


@given(
    st.integers(1, 50),
    st.integers(1, 10),
    st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_window_has_more_than_the_rate_and_the_burst(per_second: int, burst: int, pauses: list[float]) -> None:
    bucket, mark, starts = Bucket.of(f"{per_second}/s", burst), 0.0, []
    for now in itertools.accumulate(pauses):
        starts.append(now + bucket.wait_seconds(mark, now))
        mark = bucket.next_mark(mark, now)
    for first, start in enumerate(starts):
        assert sum(start <= later < start + 1 for later in starts[first:]) <= per_second + burst + 1e-6


@pytest.mark.looptime
async def test_a_task_waits_for_its_token_and_one_that_would_wait_for_long_returns_to_its_queue() -> None:
    started: list[float] = []
    rate = LocalRate("1/s", burst=2)

    async def run() -> None:
        started.append(asyncio.get_running_loop().time())

    begun = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(rate(call(), run) for _ in range(9)), return_exceptions=True)
    assert [start - begun for start in started] == pytest.approx([0, 0, 1, 2, 3, 4, 5])
    refused = [result for result in results if isinstance(result, Requeue)]
    assert [refusal.delay for refusal in refused] == pytest.approx([6, 6])
