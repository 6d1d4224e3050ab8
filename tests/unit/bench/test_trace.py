"""The load of the benchmark of harm is what it says it is."""

import random
import statistics

import pytest

from tests.bench.trace import LONGEST_SECONDS, RUSH, RUSH_SECONDS, SHORTEST_SECONDS, TRICKLE, Rhythm, duration, trace

RHYTHM = Rhythm(burst=100, period=30, phase=7)


def test_durations_lie_between_the_shortest_and_the_longest() -> None:
    assert duration(0) == pytest.approx(SHORTEST_SECONDS)
    assert duration(1) == pytest.approx(LONGEST_SECONDS)


def test_durations_have_a_heavy_tail() -> None:
    seconds = [duration(share / 10_000) for share in range(10_000)]

    assert statistics.median(seconds) < 0.2
    assert statistics.mean(seconds) == pytest.approx(1.2, abs=0.05)
    assert sum(each > 30 for each in seconds) == pytest.approx(75, abs=5)


def test_every_burst_has_its_rush_and_its_trickle_and_then_a_pause() -> None:
    tasks = trace(RHYTHM, bursts=3, chance=random.Random(1))

    assert len(tasks) == 300
    for number in range(3):
        start = RHYTHM.phase + number * RHYTHM.period
        offsets = [task.at - start for task in tasks if start <= task.at < start + RHYTHM.period]
        assert len(offsets) == 100
        assert sum(offset <= RUSH_SECONDS for offset in offsets) >= 100 * RUSH
        assert RUSH_SECONDS < max(offsets) <= TRICKLE * RHYTHM.period


def test_tasks_are_listed_in_the_order_in_which_they_come() -> None:
    tasks = trace(RHYTHM, bursts=5, chance=random.Random(2))

    assert tasks == sorted(tasks, key=lambda task: task.at)


def test_the_same_seed_makes_the_same_trace() -> None:
    assert trace(RHYTHM, 4, random.Random(3)) == trace(RHYTHM, 4, random.Random(3))
    assert trace(RHYTHM, 4, random.Random(3)) != trace(RHYTHM, 4, random.Random(4))


def test_few_tasks_have_a_tail_as_well() -> None:
    seconds = [task.seconds for task in trace(RHYTHM, bursts=1, chance=random.Random(5))]

    assert max(seconds) > 30
    assert statistics.median(seconds) < 0.2
