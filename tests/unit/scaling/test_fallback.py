"""The fallback sets the number of workers while the queue is unreadable."""

from datetime import timedelta

import pytest

from taskqueue_operator.resource.scaling import FallbackBehavior
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Workers
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Fallback, Policy
from taskqueue_operator.scaling.reading import Doubt, Reading
from tests.approved import assert_approved

from .builders import at, certain, doubtful, settled

UNREADABLE_FOR_TWO_MINUTES = settled(0, read_at=at(-120))


@pytest.mark.parametrize(
    ("behavior", "replicas", "desired"),
    [
        (FallbackBehavior.STATIC, 9, 6),
        (FallbackBehavior.STATIC, 2, 6),
        (FallbackBehavior.AT_LEAST, 9, 9),
        (FallbackBehavior.AT_LEAST, 0, 6),
        (FallbackBehavior.AT_MOST, 9, 6),
        (FallbackBehavior.AT_MOST, 2, 2),
        (FallbackBehavior.CURRENT, 9, 9),
    ],
)
def test_each_behavior_of_the_fallback_sets_its_number(behavior: FallbackBehavior, replicas: int, desired: int) -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, behavior))
    decision = decide(doubtful(None), Workers(replicas), policy, UNREADABLE_FOR_TWO_MINUTES, at(0))
    assert (decision.desired, decision.reason) == (desired, DecisionReason.FALLBACK)


def test_the_explanation_of_a_fallback() -> None:
    explanations = {
        behavior: decide(
            doubtful(None),
            Workers(2),
            Policy(20, fallback=Fallback(timedelta(seconds=120), 6, behavior)),
            UNREADABLE_FOR_TWO_MINUTES,
            at(0),
        ).explanation
        for behavior in FallbackBehavior
    }
    assert_approved("decision.fallback_static", explanations[FallbackBehavior.STATIC])
    assert_approved("decision.fallback_at_least", explanations[FallbackBehavior.AT_LEAST])
    assert_approved("decision.fallback_at_most", explanations[FallbackBehavior.AT_MOST])
    assert_approved("decision.fallback_current", explanations[FallbackBehavior.CURRENT])


@pytest.mark.parametrize(
    ("reading", "unreadable"),
    [(doubtful(None), True), (doubtful(0, Doubt.NOT_RUNNING), True), (doubtful(0, Doubt.NO_SWEEP), False)],
)
def test_the_fallback_applies_only_to_an_unreadable_queue(reading: Reading, unreadable: bool) -> None:  # noqa: FBT001
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.AT_LEAST))
    assert decide(reading, Workers(0), policy, UNREADABLE_FOR_TWO_MINUTES, at(0)).desired == (6 if unreadable else 0)


def test_the_delay_of_the_fallback_counts_from_the_start_of_the_operator() -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.AT_LEAST))
    memory = decide(doubtful(None), Workers(0), policy, Memory(), at(0)).memory
    before, after = (decide(doubtful(None), Workers(0), policy, memory, at(then)).desired for then in (119, 120))
    assert (before, after) == (0, 6)


def test_the_first_reading_ends_the_fallback() -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.STATIC))
    memory = decide(doubtful(None), Workers(6), policy, UNREADABLE_FOR_TWO_MINUTES, at(0)).memory
    read = decide(certain(300, now=1), Workers(6), policy, memory, at(1))
    assert (read.desired, read.reason) == (15, DecisionReason.BACKLOG)
    assert decide(doubtful(None), Workers(15), policy, read.memory, at(100)).desired == 15
