"""Properties of any decision, for arbitrary readings, workers, policies and memories."""

from datetime import datetime, timedelta
from operator import attrgetter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Workers
from taskqueue_operator.scaling.memory import Memory, Recommendation
from taskqueue_operator.scaling.policy import Policy, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading

from .builders import at, certain

COUNTS = st.integers(0, 60)
DEPTHS = st.integers(0, 2000)
SPANS = st.integers(0, 120).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    low, high = sorted((draw(COUNTS), draw(st.integers(1, 60))))
    return Policy(
        max_replicas=max(high, 1),
        min_replicas=low,
        ready_per_replica=draw(st.integers(1, 100)),
        activation_ready=draw(st.sampled_from([0, 1, 50])),
        idle=draw(SPANS),
        scale_down=Rules(window=draw(SPANS)),
        concurrency=draw(st.integers(1, 8)),
    )


@st.composite
def workers(draw: st.DrawFn) -> Workers:
    replicas = draw(COUNTS)
    return Workers(replicas, draw(st.integers(0, replicas)))


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    numbers = sorted(draw(st.sets(COUNTS, max_size=5)), reverse=True)
    times = sorted(-draw(st.integers(0, 200)) for _ in numbers)
    busy = draw(st.none() | st.integers(-200, 0))
    recommendations = tuple(Recommendation(at(then), number) for then, number in zip(times, numbers, strict=True))
    lows = tuple(sorted(recommendations, key=attrgetter("at", "replicas")))[-1:]
    if not recommendations:
        return Memory()
    return Memory(
        began=at(-200), at=at(-1), highs=recommendations, lows=lows, busy_at=None if busy is None else at(busy)
    )


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    at_least, more = draw(st.none() | DEPTHS), draw(st.none() | st.integers(0, 100))
    if at_least is None or more is None:
        held = draw(st.none() | DEPTHS)
        return Reading(at(0), at_least, None, held, draw(st.sampled_from(Doubt)), held)
    unacked = draw(DEPTHS)
    return Reading(at(0), at_least, at_least + more, unacked, held_at_least=draw(st.integers(0, unacked)))


@pytest.mark.slow
@given(readings(), workers(), policies(), memories())
def test_invariant_2_unknown_is_not_zero(reading: Reading, now: Workers, policy: Policy, memory: Memory) -> None:
    assume(reading.at_most is None)
    decision = decide(reading, now, policy, memory, at(0))
    assert decision.desired >= min(now.replicas, policy.max_replicas)


@pytest.mark.slow
@given(readings(), workers(), policies(), memories())
def test_invariant_2_without_a_lower_bound_nothing_is_scaled_out(
    reading: Reading, now: Workers, policy: Policy, memory: Memory
) -> None:
    assume(reading.at_least is None)
    assert decide(reading, now, policy, memory, at(0)).desired <= max(now.replicas, policy.min_replicas)


@given(readings(), workers(), policies(), memories())
def test_invariant_3_desired_is_within_its_bounds(
    reading: Reading, now: Workers, policy: Policy, memory: Memory
) -> None:
    assert policy.min_replicas <= decide(reading, now, policy, memory, at(0)).desired <= policy.max_replicas


@given(readings(), workers(), policies(), st.none() | COUNTS)
def test_invariant_3_paused_sets_the_number_of_the_user(
    reading: Reading, now: Workers, policy: Policy, paused: int | None
) -> None:
    policy = Policy(policy.max_replicas, policy.min_replicas, mode=Mode.PAUSED, paused_replicas=paused)
    assert decide(reading, now, policy, Memory(), at(0)).desired == (now.replicas if paused is None else paused)


@given(DEPTHS, DEPTHS, DEPTHS, workers(), policies(), memories())
def test_more_ready_messages_never_mean_fewer_workers(  # noqa: PLR0913, PLR0917  one for each input of decide
    ready: int, more: int, unacked: int, now: Workers, policy: Policy, memory: Memory
) -> None:
    fewer, many = (
        decide(certain(depth, unacked), now, policy, memory, at(0)).desired for depth in (ready, ready + more)
    )
    assert fewer <= many


@given(st.integers(0, 1000), workers(), policies(), memories())
def test_unacked_messages_alone_never_cause_scale_out(
    unacked: int, now: Workers, policy: Policy, memory: Memory
) -> None:
    assert decide(certain(0, unacked), now, policy, memory, at(0)).desired <= max(now.replicas, policy.min_replicas)


@given(DEPTHS, st.integers(0, 1000), DEPTHS, workers(), policies(), memories())
def test_messages_that_workers_take_never_cause_scale_out(  # noqa: PLR0913, PLR0917  one for each input of decide
    ready: int, unacked: int, taken: int, now: Workers, policy: Policy, memory: Memory
) -> None:
    """Otherwise prefetched messages would add workers, which prefetch more messages, up to the maximum."""
    assume(taken <= ready)
    before, after = (
        decide(reading, now, policy, memory, at(0)).desired
        for reading in (certain(ready, unacked), certain(ready - taken, unacked + taken))
    )
    assert after <= max(before, now.replicas)


@given(DEPTHS, DEPTHS, COUNTS, policies(), memories())
def test_a_decision_that_was_applied_is_stable(
    ready: int, unacked: int, replicas: int, policy: Policy, memory: Memory
) -> None:
    """New workers are not ready at the same time."""
    assume(
        ready > policy.activation_ready or policy.min_replicas == 0
    )  # minReplicas scales from zero too, without demand
    assume(memory.began is not None)  # a new memory keeps the current number for one decision
    first = decide(certain(ready, unacked), Workers(replicas, replicas), policy, memory, at(0))
    applied = Workers(first.desired, min(replicas, first.desired))
    assert decide(certain(ready, unacked), applied, policy, first.memory, at(0)).desired == first.desired


@given(readings(), workers(), policies(), memories())
def test_invariant_6_a_decision_can_be_explained(
    reading: Reading, now: Workers, policy: Policy, memory: Memory
) -> None:
    decision = decide(reading, now, policy, memory, at(0))
    assert decision.explanation_lines
    assert f"{decision.desired}" in decision.explanation or decision.desired in {now.replicas, 0, 1}


@given(readings(), workers(), policies(), memories(), st.datetimes(at(0).replace(tzinfo=None)))
def test_invariant_6_a_decision_can_be_replayed(
    reading: Reading, now: Workers, policy: Policy, memory: Memory, then: datetime
) -> None:
    then = then.replace(tzinfo=at(0).tzinfo)
    assert decide(reading, now, policy, memory, then) == decide(reading, now, policy, memory, then)
