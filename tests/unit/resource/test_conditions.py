"""Conditions: transition times, and previous conditions that are kept."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.conditions import (
    PRESENT_ONLY_WHILE_TRUE,
    Condition,
    ConditionStatus,
    ConditionType,
    render,
    timestamp,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = datetime(2026, 1, 1, 0, 0, 5, 900000, tzinfo=UTC)
READY = ConditionType.READY


def condition(
    type_: ConditionType, status: ConditionStatus = ConditionStatus.TRUE, reason: str = "Because", message: str = ""
) -> Condition:
    return Condition(type_, status, reason, message)


def rendered(*conditions: Condition, at: datetime = T0, generation: int = 1) -> list[dict[str, Any]]:
    return render(conditions, (), generation=generation, now=at)


def test_a_condition_has_the_standard_form_of_kubernetes() -> None:
    assert rendered(condition(READY, message="All is well."), generation=4) == [
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
    ("new", "transition_time"),
    [
        (condition(READY, ConditionStatus.TRUE, "Other", "words"), "2026-01-01T00:00:00Z"),
        (condition(READY, ConditionStatus.FALSE), "2026-01-01T00:00:05Z"),
        (condition(READY, ConditionStatus.UNKNOWN), "2026-01-01T00:00:05Z"),
    ],
)
def test_the_transition_time_changes_only_with_the_status(new: Condition, transition_time: str) -> None:
    (rendered_condition,) = render([new], rendered(condition(READY)), generation=2, now=T1)
    assert rendered_condition["lastTransitionTime"] == transition_time
    assert rendered_condition["reason"] == new.reason


def test_a_condition_without_a_new_value_keeps_its_previous_one() -> None:
    previous = rendered(condition(ConditionType.BROKER_REACHABLE, ConditionStatus.FALSE), condition(READY))
    assert render([], previous, generation=9, now=T1) == sorted(previous, key=lambda old: old["type"] != "Ready")


@pytest.mark.parametrize("type_", sorted(PRESENT_ONLY_WHILE_TRUE))
def test_a_condition_that_is_present_only_while_true_is_removed_without_a_new_value(type_: ConditionType) -> None:
    assert render([], rendered(condition(type_)), generation=1, now=T1) == []


def test_a_condition_of_another_writer_is_not_rendered() -> None:
    foreign = {"type": "Foreign", "status": "True", "reason": "", "message": "", "lastTransitionTime": timestamp(T0)}
    assert render([condition(READY)], [foreign], generation=1, now=T0) == rendered(condition(READY))


condition_lists = st.lists(
    st.builds(condition, st.sampled_from(ConditionType), st.sampled_from(ConditionStatus)),
    unique_by=lambda found: found.type,
)


@given(condition_lists, condition_lists)
def test_invariant_5_rendering_the_same_conditions_again_changes_nothing(
    first: list[Condition], second: list[Condition]
) -> None:
    once = render(second, rendered(*first), generation=1, now=T0)
    assert render(second, once, generation=1, now=T1) == once


@given(condition_lists, condition_lists)
def test_conditions_have_a_fixed_order_and_no_duplicates(first: list[Condition], second: list[Condition]) -> None:
    types = [
        rendered_condition["type"] for rendered_condition in render(second, rendered(*first), generation=1, now=T1)
    ]
    assert types == [type_ for type_ in ConditionType if type_ in set(types)]
