"""The prefetch follows the time of the tasks, in times and totals of the test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_drain.bounds import MOST_AUTO_PREFETCH
from taskqueue_worker.prefetch import CAUTION_SECONDS, WINDOW, Prefetch


class Load:
    """A worker that is busy, observed each second."""

    def __init__(self, concurrency: int = 1, queues: int = 1) -> None:
        self.prefetch = Prefetch(concurrency, concurrency, queues=queues, is_auto=True)
        self.now = 0.0
        self._concurrency = concurrency
        self._busy_seconds = 0.0
        self._ended = 0.0

    def run(self, task_seconds: float, seconds: int = 2 * WINDOW) -> list[int]:
        """Run tasks of this length; return the prefetch after each change."""
        changes = []
        for _ in range(seconds):
            self.now += 1
            self._busy_seconds += self._concurrency
            self._ended += self._concurrency / task_seconds
            if self.prefetch.observe(self.now, self._busy_seconds, int(self._ended)):
                changes.append(self.prefetch.count)
        return changes


@pytest.mark.parametrize(
    ("task_seconds", "concurrency", "queues", "count"),
    [
        (0.001, 1, 1, 50),
        (0.1, 1, 1, 11),
        (0.5, 1, 1, 3),
        (1.5, 1, 1, 1),
        (60, 1, 1, 1),
        (0.5, 4, 2, 8),
        (0.1, 80, 1, 80),
    ],
)
def test_a_second_of_work_waits_in_a_worker(task_seconds: float, concurrency: int, queues: int, count: int) -> None:
    load = Load(concurrency, queues)
    load.run(task_seconds)
    assert load.prefetch.count == count


def test_times_that_differ_little_change_nothing() -> None:
    load = Load()
    assert load.run(0.1) == [11]
    assert load.run(0.13) + load.run(0.08) == []


def test_the_prefetch_falls_while_tasks_become_longer() -> None:
    load = Load()
    load.run(0.01)
    changes = load.run(2)
    assert changes == sorted(changes, reverse=True)
    assert load.prefetch.count == 1


def test_it_does_not_grow_after_a_few_tasks() -> None:
    prefetch = Prefetch(1, 1, is_auto=True)
    assert not prefetch.observe(1, 0.004, 4)
    assert prefetch.observe(2, 0.005, 5)


def test_an_idle_worker_keeps_its_prefetch() -> None:
    load = Load()
    load.run(0.1)
    assert not any(load.prefetch.observe(load.now + n, load._busy_seconds, int(load._ended)) for n in range(100))


def test_after_messages_have_waited_too_long_it_does_not_grow_for_a_minute() -> None:
    load = Load()
    load.run(0.01)
    assert load.prefetch.reduce(load.now)
    assert load.prefetch.count == 1
    assert load.run(0.01, int(CAUTION_SECONDS) - 1) == []
    assert load.run(0.01) == [50]


def test_a_constant_prefetch_is_only_reduced() -> None:
    prefetch = Prefetch(8, 2)
    assert not prefetch.observe(1, 10, 1000)
    assert prefetch.may_change
    assert prefetch.reduce(1)
    assert (prefetch.count, prefetch.may_change, prefetch.reduce(2)) == (2, False, False)


@given(
    st.integers(1, 100), st.integers(1, 5), st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 10**6)), max_size=40)
)
def test_it_stays_between_the_concurrency_and_50(concurrency: int, queues: int, steps: list[tuple[float, int]]) -> None:
    prefetch = Prefetch(concurrency, concurrency, queues=queues, is_auto=True)
    busy_seconds, ended = 0.0, 0
    for now, (busy, tasks) in enumerate(steps):
        busy_seconds, ended = busy_seconds + busy, ended + tasks
        prefetch.observe(now, busy_seconds, ended)
        assert concurrency <= prefetch.count <= max(concurrency, MOST_AUTO_PREFETCH)
