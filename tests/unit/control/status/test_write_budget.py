"""The turns to write, in pure time."""

from datetime import UTC, datetime, timedelta

import pytest

from taskqueue_operator.control.status.deadlines import Deadlines
from taskqueue_operator.control.status.write_budget import WriteBudget

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_turns_never_exceed_the_rate() -> None:
    budget = WriteBudget(20)
    turns = [budget.reserve(NOW) for _ in range(41)]
    assert turns[0] == NOW
    assert turns[-1] - NOW == timedelta(seconds=2)
    assert turns == sorted(set(turns))


def test_there_is_something_to_spare_only_while_nobody_waits() -> None:
    budget = WriteBudget(1)
    assert budget.has_spare(NOW)
    budget.reserve(NOW)
    assert not budget.has_spare(NOW)
    assert budget.has_spare(NOW + timedelta(seconds=1))
    assert budget.reserve(NOW + timedelta(hours=1)) == NOW + timedelta(hours=1), "unused turns are not saved up"


@pytest.mark.parametrize(("asked", "left"), [((), None), ((-1, 0), None), ((5,), 5.0), ((9, -1, 4), 4.0)])
def test_deadlines_remember_the_earliest_time_that_has_not_passed(asked: tuple[int, ...], left: float | None) -> None:
    deadlines = Deadlines(NOW)
    for seconds in asked:
        assert deadlines.has_passed(NOW + timedelta(seconds=seconds)) is (seconds <= 0)
    assert deadlines.seconds_left == (left and pytest.approx(left, abs=0.002))
