"""What a terminal shows."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from taskqueue_operator.commands.operations import Survey
from taskqueue_operator.commands.redrive import Redriven
from taskqueue_operator.commands.table import age, groups_table, letter_lines, redriven_lines
from taskqueue_operator.dead_letters.destination import Kept
from taskqueue_operator.dead_letters.letter import DeadLetter
from taskqueue_operator.dead_letters.report import letter_json

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=119), "119m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=400), "400d"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(ago: timedelta, shown: str) -> None:
    assert age(NOW - ago, NOW) == shown


def test_a_listing_has_one_line_for_each_group_and_the_total() -> None:
    found = Survey(ready=3, read=2)
    found.groups.add(DeadLetter(type="resize", reason="failed", error_class="OSError", last_failure=NOW))
    found.groups.add(DeadLetter(type="resize", reason="failed", error_class="OSError"))
    header, group, total = groups_table("jobs.dlq", found, NOW)
    assert header.split() == ["TYPE", "REASON", "CLASS", "COUNT", "OLDEST", "NEWEST"]
    assert group.split() == ["resize", "failed", "OSError", "2", "0s", "0s"]
    assert total.startswith('3 dead letters in queue "jobs.dlq".')
    assert "Only the 2 oldest" in total


def test_an_empty_queue_has_no_table() -> None:
    assert list(groups_table("jobs.dlq", Survey(ready=0), NOW)) == ['0 dead letters in queue "jobs.dlq".']


def test_a_dead_letter_shows_its_fields_that_are_set_and_its_headers() -> None:
    lines = list(letter_lines(letter_json(DeadLetter(id="id-1", reason="failed"), {"tenant": "acme"}, None, None)))
    assert lines[0].split() == ["id:", "id-1"]
    assert lines[-2:] == ["headers:", "  tenant: acme"]
    assert not any(line.startswith(("class:", "attempt:", "body:")) for line in lines)


def test_a_redrive_says_how_many_returned_and_why_the_others_stay() -> None:
    result = Redriven(ready=9, redriven=5, kept=Counter({Kept.UNROUTABLE: 2}), others=1)
    first, stays, unread = redriven_lines(result)
    assert first.startswith("5 of 7 selected")
    assert stays == "2 stay: its queue does not exist."
    assert unread.startswith("1 dead letters were not read.")
