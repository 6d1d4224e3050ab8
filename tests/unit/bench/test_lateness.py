"""Bounds that follow from the buckets and the sum of a histogram."""

import math

from tests.bench.lateness import Histogram


def test_a_share_of_durations_is_bounded_by_the_bucket_that_reaches_it() -> None:
    ticks = Histogram({0.05: 94, 0.075: 95, 0.1: 99, 0.2: 100, math.inf: 100}, sum=4.2)

    assert [ticks.not_above(share) for share in (0.95, 0.96, 0.99, 1)] == [0.075, 0.1, 0.1, 0.2]


def test_beyond_the_last_bucket_the_sum_is_the_bound() -> None:
    ticks = Histogram({0.1: 1, math.inf: 2}, sum=7.5)

    assert ticks.not_above(1) == 7.5


def test_since_subtracts_an_earlier_histogram() -> None:
    before = Histogram({0.1: 0, 1: 3, math.inf: 3}, sum=2.5)
    after = Histogram({0.1: 2, 1: 5, math.inf: 5}, sum=2.6)

    ticks = after.since(before)

    assert ticks.count == 2
    assert ticks.not_above(1) == 0.1


def test_since_an_empty_histogram_subtracts_nothing() -> None:
    assert Histogram({0.1: 1, math.inf: 1}, sum=0.05).since(Histogram({}, 0)).count == 1
