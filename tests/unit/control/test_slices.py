"""Long work, and what many tasks could do at once, is divided into slices."""

import asyncio
import time

import pytest

from taskqueue_operator.control import slices
from taskqueue_operator.control.slices import Slices
from tests.unit.iterations import counted_iterations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows its only element."""
    shown = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: shown[0])
    return shown


async def test_work_goes_on_at_once_until_its_slice_ends(clock: list[float]) -> None:
    work = Slices()
    with counted_iterations() as iterations:
        for _ in range(10):
            await work.wait()
            clock[0] += slices.SLICE_SECONDS / 11
        assert iterations.present == 0
        clock[0] += slices.SLICE_SECONDS / 10
        await work.wait()
        assert iterations.present == 1


async def test_many_tasks_continue_in_slices_and_in_their_order(clock: list[float]) -> None:
    work, done, in_iterations = Slices(), list[int](), list[int]()

    async def task(number: int) -> None:
        await work.wait()
        clock[0] += slices.SLICE_SECONDS / 3.5
        done.append(number)
        in_iterations.append(iterations.present)

    with counted_iterations() as iterations:
        await asyncio.gather(*(task(number) for number in range(20)))
    assert done == list(range(20))
    assert max(in_iterations.count(iteration) for iteration in set(in_iterations)) == 4
    assert len(set(in_iterations)) == 5
