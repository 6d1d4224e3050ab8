"""Conditions: since when and why, and what stays as it was said before."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.conditions import ABNORMAL, Condition, ConditionType, Truth, render, timestamp

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = datetime(2026, 1, 1, 0, 0, 5, 900000, tzinfo=UTC)
READY = ConditionType.READY


def condition(
    type_: ConditionType, status: Truth = Truth.TRUE, reason: str = "Because", message: str = ""
) -> Condition:
    return Condition(type_, status, reason, message)


def said(*findings: Condition, at: datetime = T0, generation: int = 1) -> list[dict[str, Any]]:
    return render(findings, (), generation=generation, now=at)


def test_a_condition_is_written_as_everywhere_in_kubernetes() -> None:
    assert said(condition(READY, message="All is well."), generation=4) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Because",
            "message": "All is well.",
            "observedGeneration": 4,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    ("after", "since"),
    [
        (condition(READY, Truth.TRUE, "Other", "words"), "2026-01-01T00:00:00Z"),
        (condition(READY, Truth.FALSE), "2026-01-01T00:00:05Z"),
        (condition(READY, Truth.UNKNOWN), "2026-01-01T00:00:05Z"),
    ],
)
def test_the_time_moves_only_where_the_truth_flips(after: Condition, since: str) -> None:
    (written,) = render([after], said(condition(READY)), generation=2, now=T1)
    assert (written["lastTransitionTime"], written["reason"]) == (since, after.reason)


def test_what_nothing_is_found_of_stays_as_it_was_said() -> None:
    before = said(condition(ConditionType.BROKER_REACHABLE, Truth.FALSE), condition(READY))
    assert render([], before, generation=9, now=T1) == sorted(before, key=lambda each: each["type"] != "Ready")


@pytest.mark.parametrize("type_", sorted(ABNORMAL))
def test_what_is_abnormal_ends_when_it_is_not_found(type_: ConditionType) -> None:
    assert render([], said(condition(type_)), generation=1, now=T1) == []


def test_what_others_wrote_is_not_ours_to_say() -> None:
    foreign = {"type": "Foreign", "status": "True", "reason": "", "message": "", "lastTransitionTime": timestamp(T0)}
    assert render([condition(READY)], [foreign], generation=1, now=T0) == said(condition(READY))


findings = st.lists(
    st.builds(condition, st.sampled_from(ConditionType), st.sampled_from(Truth)), unique_by=lambda each: each.type
)


@given(findings, findings)
def test_saying_the_same_again_changes_nothing(first: list[Condition], then: list[Condition]) -> None:
    """Invariant 5: no change, no write."""
    written = render(then, said(*first), generation=1, now=T0)
    assert render(then, written, generation=1, now=T1) == written


@given(findings, findings)
def test_conditions_have_one_order_and_no_twins(first: list[Condition], then: list[Condition]) -> None:
    types = [each["type"] for each in render(then, said(*first), generation=1, now=T1)]
    assert types == [type_ for type_ in ConditionType if type_ in set(types)]
