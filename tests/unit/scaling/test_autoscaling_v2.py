"""`behavior` has the semantics of an HPA: each decision is compared with the algorithm of the HPA controller.

The comparison covers what both support: at least one worker, certain readings, no running tasks, and a memory that is
older than any window. The tests at the end cover deliberate differences.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Workers
from taskqueue_operator.scaling.demand import ceil_div
from taskqueue_operator.scaling.policy import Policy, Rate, Rules

from .builders import at, certain, settled
from .reference_hpa import HorizontalPodAutoscaler

EXAMPLES = 5000 if os.environ.get("TASKQUEUE_DEEP") else 300
BINARY = (25, 50, 100, 200)
"""Percentages that a float represents exactly."""


@dataclass(frozen=True)
class Tick:
    """Seconds since the previous tick, backlog in percent of the target, and whether the write of replicas succeeds."""

    after: float
    percent: int
    written: bool


ticks = st.builds(
    Tick,
    st.sampled_from([0.5, 1, 5, 15, 15, 60]),
    st.sampled_from([0, 50, 70, 90, 95, 100, 105, 110, 130, 150, 1000]) | st.integers(0, 400),
    st.sampled_from([True, True, True, True, False]),
)


def rules(percent: st.SearchStrategy[int], shares: list[str]) -> st.SearchStrategy[Rules]:
    period = st.sampled_from([1, 15, 30, 60]).map(lambda seconds: timedelta(seconds=seconds))
    rate = st.builds(Rate, st.just(PolicyType.PODS), st.integers(1, 8), period) | st.builds(
        Rate, st.just(PolicyType.PERCENT), percent, period
    )
    return st.builds(
        Rules,
        window=st.sampled_from([0, 0, 15, 30, 300]).map(lambda seconds: timedelta(seconds=seconds)),
        rates=st.lists(rate, min_size=1, max_size=3).map(tuple),
        select=st.sampled_from(SelectPolicy),
        tolerance=st.sampled_from(shares).map(Decimal),
    )


@st.composite
def policies(draw: st.DrawFn, percent: st.SearchStrategy[int], shares: list[str]) -> Policy:
    least, most = sorted((draw(st.integers(1, 50)), draw(st.integers(1, 50))))
    up, down = draw(rules(percent, shares)), draw(rules(percent, shares))
    return Policy(most, least, draw(st.sampled_from([1, 8, 10, 20])), scale_up=up, scale_down=down)


def play(policy: Policy, hpa: HorizontalPodAutoscaler, history: list[Tick], replicas: int) -> None:
    """Compare the decisions of both at each tick, for the same number of replicas."""
    now, memory = 0.0, settled(replicas, replicas=replicas)
    hpa.recommendations.append((-1, replicas))
    for tick in history:
        now += tick.after
        ready = ceil_div(policy.ready_per_replica * replicas * tick.percent, 100)
        decision = decide(certain(ready, now=now), Workers(replicas, replicas), policy, memory, at(now))
        expected = hpa.desired(now, ready, replicas)
        assert decision.desired == expected, (now, tick, replicas, decision.explanation)
        memory = decision.memory
        if tick.written and expected != replicas:
            hpa.scaled(now, expected - replicas)
            replicas = expected


histories = st.lists(ticks, min_size=1, max_size=40)


@pytest.mark.slow
@settings(settings.get_profile("fast"), max_examples=EXAMPLES)
@given(policies(st.integers(1, 150), ["0", "0.05", "0.1", "0.3"]), histories, st.data())
def test_decisions_are_equal_to_decisions_of_an_hpa_with_exact_arithmetic(
    policy: Policy, history: list[Tick], data: st.DataObject
) -> None:
    replicas = data.draw(st.integers(policy.min_replicas, policy.max_replicas))
    play(policy, HorizontalPodAutoscaler(policy, Fraction), history, replicas)


@pytest.mark.slow
@settings(settings.get_profile("fast"), max_examples=EXAMPLES)
@given(policies(st.sampled_from(BINARY), ["0", "0.125", "0.5"]), histories, st.data())
def test_decisions_are_equal_to_decisions_of_an_hpa_with_floats(
    policy: Policy, history: list[Tick], data: st.DataObject
) -> None:
    replicas = data.draw(st.integers(policy.min_replicas, policy.max_replicas))
    play(policy, HorizontalPodAutoscaler(policy, float), history, replicas)


@pytest.mark.parametrize("percent", [1, 5, 7, 10, 15, 20, 30, 33, 55, 90, 110, 150])
def test_percentages_differ_only_where_a_float_of_the_hpa_misses_an_integer(percent: int) -> None:
    """For the HPA controller, 10 pods plus 10 percent are 11.000000000000002, so 12."""
    out, into = (Rules(rates=(Rate(PolicyType.PERCENT, percent, timedelta(seconds=1)),)) for _ in range(2))
    policy = Policy(10**6, 1, ready_per_replica=1, scale_up=out, scale_down=into)
    for replicas in range(2, 121):
        for ready, exact in ((10**6, replicas * (100 + percent)), (0, replicas * (100 - percent))):
            memory = settled(1 if ready == 0 else 10**6)
            own = decide(certain(ready), Workers(replicas, replicas), policy, memory, at(0)).desired
            hpa = HorizontalPodAutoscaler(policy, float).desired(0, ready, replicas)
            assert own == max(ceil_div(exact, 100) if ready else exact // 100, 1)
            assert own == hpa or (abs(own - hpa) == 1 and exact % 100 == 0)


def test_unlike_in_an_hpa_there_is_no_limit_without_rate_policies() -> None:
    """An HPA has default policies: 4 pods or 100 percent per 15 s."""
    assert decide(certain(5000), Workers(1, 1), Policy(200), settled(1), at(0)).desired == 200


def test_unlike_in_an_hpa_the_scale_in_budget_is_spent_after_a_start() -> None:
    """Earlier removals are unknown; an HPA would have a full budget again after each of its restarts."""
    slow = Rules(rates=(Rate(PolicyType.PODS, 1, timedelta(seconds=60)),))
    policy = Policy(20, 1, scale_down=slow)
    hpa = HorizontalPodAutoscaler(policy, float)
    assert hpa.desired(0, 0, 10) == 9
    started = settled(1, began=at(0))
    numbers = [decide(certain(0), Workers(10), policy, started, at(then)).desired for then in (0, 59, 60)]
    assert numbers == [10, 10, 9]


def test_unlike_in_an_hpa_manual_changes_count_towards_the_rates() -> None:
    policy = Policy(20, 1, ready_per_replica=1, scale_up=Rules(rates=(Rate(PolicyType.PODS, 4, timedelta(minutes=1)),)))
    memory = decide(certain(5), Workers(5, 5), policy, settled(5, replicas=5), at(0)).memory
    assert decide(certain(20), Workers(8, 8), policy, memory, at(1)).desired == 9


def test_unlike_in_an_hpa_scaling_from_zero_ignores_the_window() -> None:
    policy = Policy(20, scale_up=Rules(window=timedelta(minutes=5)))
    assert decide(certain(100), Workers(0), policy, settled(0), at(0)).desired == 5
