"""Groups of dead letters, and the selection of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskqueue_operator.dead_letters.groups import Figures, Group, Groups
from taskqueue_operator.dead_letters.letter import DeadLetter
from taskqueue_operator.dead_letters.selection import Selection
from taskqueue_operator.resource.bounds import DEAD_LETTER_GROUPS

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
LETTER = DeadLetter(
    id="id-1", type="resize", reason="failed", error_class="OSError", last_failure=AT, body_bytes=10, queue="q"
)


def test_letters_are_counted_by_type_reason_and_class_with_the_first_and_the_last_failure() -> None:
    groups = Groups()
    for minutes in (5, 0, 9):
        groups.add(replace(LETTER, last_failure=AT + timedelta(minutes=minutes)))
    groups.add(replace(LETTER, last_failure=None))
    groups.add(replace(LETTER, error_class="KeyError"))
    assert groups.largest_first() == [
        (Group("resize", "failed", "OSError"), Figures(4, 40, AT, AT + timedelta(minutes=9))),
        (Group("resize", "failed", "KeyError"), Figures(1, 10, AT, AT)),
    ]
    assert groups.count == 5


def test_groups_beyond_the_bound_are_counted_together() -> None:
    groups = Groups()
    for number in range(2 * DEAD_LETTER_GROUPS):
        groups.add(replace(LETTER, type=str(number)))
    groups.add(replace(LETTER, type="0"))
    assert len(groups.largest_first()) == DEAD_LETTER_GROUPS
    assert groups.others.count == DEAD_LETTER_GROUPS
    assert groups.count == 2 * DEAD_LETTER_GROUPS + 1
    assert groups.largest_first()[0][1].count == 2


@pytest.mark.parametrize(
    ("selection", "matches"),
    [
        (Selection(), True),
        (Selection(id="id-1"), True),
        (Selection(type="resize", reason="failed", error_class="OSError"), True),
        (Selection(type="resize", reason="timeout"), False),
        (Selection(id="id-2"), False),
        (Selection(error_class=""), False),
    ],
)
def test_all_that_a_selection_names_has_to_match(selection: Selection, matches: bool) -> None:  # noqa: FBT001  a case
    assert selection.matches(LETTER) is matches


def test_the_empty_text_selects_what_says_nothing() -> None:
    assert Selection(type="").matches(DeadLetter())
    assert not Selection(type="").is_all
