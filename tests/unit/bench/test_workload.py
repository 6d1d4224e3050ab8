"""The generated workload has the documented shape."""

import random
import statistics

import pytest

from tests.bench.workload import (
    LONGEST_SECONDS,
    RUSH_SECONDS,
    RUSH_SHARE,
    SHORTEST_SECONDS,
    TRICKLE_SHARE,
    Rhythm,
    duration,
    workload,
)

RHYTHM = Rhythm(burst=100, period=30, phase=7)


def test_durations_are_between_the_shortest_and_the_longest() -> None:
    assert duration(0) == pytest.approx(SHORTEST_SECONDS)
    assert duration(1) == pytest.approx(LONGEST_SECONDS)


def test_durations_have_a_heavy_tail() -> None:
    seconds = [duration(share / 10_000) for share in range(10_000)]

    assert statistics.median(seconds) < 0.2
    assert statistics.mean(seconds) == pytest.approx(1.2, abs=0.05)
    assert sum(value > 30 for value in seconds) == pytest.approx(75, abs=5)


def test_every_burst_has_a_rush_a_trickle_and_a_pause() -> None:
    tasks = workload(RHYTHM, bursts=3, random_source=random.Random(1))

    assert len(tasks) == 300
    for number in range(3):
        start = RHYTHM.phase + number * RHYTHM.period
        offsets = [task.at - start for task in tasks if start <= task.at < start + RHYTHM.period]
        assert len(offsets) == 100
        assert sum(offset <= RUSH_SECONDS for offset in offsets) >= 100 * RUSH_SHARE
        assert RUSH_SECONDS < max(offsets) <= TRICKLE_SHARE * RHYTHM.period


def test_tasks_are_in_the_order_of_their_publication() -> None:
    tasks = workload(RHYTHM, bursts=5, random_source=random.Random(2))

    assert tasks == sorted(tasks, key=lambda task: task.at)


def test_the_same_seed_generates_the_same_workload() -> None:
    assert workload(RHYTHM, 4, random.Random(3)) == workload(RHYTHM, 4, random.Random(3))
    assert workload(RHYTHM, 4, random.Random(3)) != workload(RHYTHM, 4, random.Random(4))


def test_few_tasks_also_have_a_long_tail() -> None:
    seconds = [task.seconds for task in workload(RHYTHM, bursts=1, random_source=random.Random(5))]

    assert max(seconds) > 30
    assert statistics.median(seconds) < 0.2


def test_a_steeper_tail_has_a_smaller_mean_and_the_same_bounds() -> None:
    seconds = [duration(share / 10_000, tail=0.8) for share in range(10_001)]

    assert [min(seconds), max(seconds)] == pytest.approx([SHORTEST_SECONDS, LONGEST_SECONDS])
    assert statistics.mean(seconds) == pytest.approx(0.6, abs=0.05)
    assert sum(value > 30 for value in seconds) == pytest.approx(25, abs=3)
