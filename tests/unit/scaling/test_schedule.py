"""When schedules are on: at the minute, in every time zone, through every change of the clocks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.schedule import DAYS
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Workers
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.schedule import Minimum, Schedule, is_on, minimum, schedule_error

from . import clocks
from .given import certain, settled

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
SECOND = timedelta(seconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def daily(start: str, end: str, zone: str = "UTC", replicas: int = 5, name: str = "office") -> Schedule:
    return Schedule(name, zone, start, end, replicas)


CASES = {
    "office hours in winter": (
        daily("0 8 * * MON-FRI", "0 18 * * 1-5", "Europe/Paris"),
        {"2026-01-05 07:00": True, "2026-01-05 17:00": False},
    ),
    "office hours in summer": (
        daily("0 8 * * 1-5", "0 18 * * MON-FRI", "Europe/Paris"),
        {"2026-07-06 06:00": True, "2026-07-06 16:00": False},
    ),
    "a start that the clock skips is when it goes on": (
        daily("30 2 * * *", "0 12 * * *", "Europe/Paris"),
        {"2026-03-29 01:00": True, "2026-03-29 10:00": False},
    ),
    "a start and an end that the clock skips": (
        daily("15 2 * * *", "45 2 * * *", "Europe/Paris"),
        {"2026-03-28 01:15": True, "2026-03-28 01:45": False, "2026-03-30 00:15": True},
    ),
    "an end that the clock shows twice is the first of them": (
        daily("0 22 * * *", "30 2 * * *", "Europe/Paris"),
        {"2026-10-24 20:00": True, "2026-10-25 00:30": False, "2026-10-25 21:00": True},
    ),
    "a start that the clock shows twice is the first of them": (
        daily("30 1 * * *", "0 5 * * *", "America/New_York"),
        {"2026-11-01 05:30": True, "2026-11-01 10:00": False},
    ),
    "an hour that is skipped in New York": (
        daily("0 2 * * 0", "0 3 * * 0", "America/New_York"),
        {"2026-03-01 07:00": True, "2026-03-01 08:00": False, "2026-03-15 06:00": True},
    ),
    "half an hour that is skipped at Lord Howe": (
        daily("15 2 * * *", "0 4 * * *", "Australia/Lord_Howe"),
        {"2026-10-03 15:30": True, "2026-10-03 17:00": False},
    ),
    "half an hour that comes twice at Lord Howe": (
        daily("45 1 * * *", "50 1 * * *", "Australia/Lord_Howe"),
        {"2026-04-04 14:45": True, "2026-04-04 14:50": False, "2026-04-05 15:15": True},
    ),
    "an offset that is no whole hour": (
        daily("0 9 * * *", "0 17 * * *", "Asia/Kolkata"),
        {"2026-06-01 03:30": True, "2026-06-01 11:30": False},
    ),
    "across midnight": (daily("0 22 * * *", "0 6 * * *"), {"2026-01-01 22:00": True, "2026-01-02 06:00": False}),
    "across midnight into spring": (
        daily("0 22 * * *", "0 6 * * *", "Europe/Paris"),
        {"2026-03-28 21:00": True, "2026-03-29 04:00": False},
    ),
    "across midnight into winter": (
        daily("0 22 * * *", "0 6 * * *", "Europe/Paris"),
        {"2026-10-24 20:00": True, "2026-10-25 05:00": False},
    ),
    "a week end": (
        daily("0 18 * * FRI", "0 8 * * MON"),
        {"2026-01-02 18:00": True, "2026-01-05 08:00": False},
    ),
    "across the turn of the year": (
        daily("0 0 24 12 *", "0 0 2 JAN *"),
        {"2025-12-24 00:00": True, "2026-01-02 00:00": False},
    ),
    "only in months that have a 31st": (
        daily("0 0 31 * *", "0 0 1 * *"),
        {"2026-03-31 00:00": True, "2026-04-01 00:00": False, "2026-05-31 00:00": True},
    ),
    "a leap day": (
        daily("0 0 29 2 *", "0 0 1 3 *"),
        {"2024-02-29 00:00": True, "2024-03-01 00:00": False, "2028-02-29 00:00": True},
    ),
    "names of days in a list": (
        daily("0 0 * * SAT,SUN", "0 12 * * SUN,6"),
        {"2026-01-03 00:00": True, "2026-01-03 12:00": False, "2026-01-04 00:00": True, "2026-01-04 12:00": False},
    ),
}


@pytest.mark.parametrize(("schedule", "turns"), CASES.values(), ids=CASES.keys())
def test_a_schedule_turns_at_the_minute(schedule: Schedule, turns: dict[str, bool]) -> None:
    for text, on in turns.items():
        at = utc(text)
        assert (is_on(schedule, at - SECOND), is_on(schedule, at), is_on(schedule, at + 59 * SECOND)) == (
            not on,
            on,
            on,
        )


def test_a_leap_day_does_not_come_in_other_years() -> None:
    leap = daily("0 0 29 2 *", "0 0 1 3 *")
    assert not any(is_on(leap, utc("2026-02-25 00:00") + timedelta(hours=n)) for n in range(240))


@pytest.mark.parametrize(("start", "end", "on"), [("15 2", "45 2", False), ("45 2", "15 2", True)])
def test_a_start_and_an_end_that_are_skipped_keep_their_order(start: str, end: str, on: bool) -> None:  # noqa: FBT001
    """They are at one moment; were it not for the order, a schedule that begins last would stay off for a day."""
    both = daily(f"{start} * * *", f"{end} * * *", "Europe/Paris")
    assert is_on(both, utc("2026-03-29 00:59")) is on
    assert {is_on(both, utc("2026-03-29 01:00") + timedelta(minutes=n)) for n in range(600)} == {on}


def test_where_schedules_overlap_the_highest_minimum_counts() -> None:
    day, noon = (
        daily("0 8 * * *", "0 18 * * *", replicas=3, name="day"),
        daily("0 12 * * *", "0 13 * * *", replicas=7, name="noon"),
    )
    highest = [minimum(2, (noon, day), utc(f"2026-01-01 {hour}:30")) for hour in ("07", "08", "12", "13", "18")]
    assert highest == [Minimum(2), Minimum(3, "day"), Minimum(7, "noon"), Minimum(3, "day"), Minimum(2)]


def test_a_schedule_below_min_replicas_changes_nothing() -> None:
    assert minimum(5, (daily("* * * * *", "0 0 29 2 *", replicas=3),), utc("2026-01-01 00:00")) == Minimum(5)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (daily("0 8 * * *", "0 18 * * *", "Mars/Olympus"), 'timeZone: the operator knows no time zone "Mars/Olympus"'),
        (daily("0 8 31 FEB *", "0 18 * * *"), 'start: "0 8 31 FEB *" is no time that ever comes'),
        (daily("0 8 * * *", "0 18 * * FRI-MON"), 'end: "0 18 * * FRI-MON" is no time that ever comes'),
    ],
    ids=["zone", "day", "range"],
)
def test_a_schedule_that_cannot_be_read_says_so_and_leaves_the_others_working(schedule: Schedule, message: str) -> None:
    fault = schedule_error(schedule)
    assert fault is not None
    assert str(fault).startswith(f"spec.scaling.schedules[office].{message}")
    good = daily("0 8 * * *", "0 18 * * *", replicas=3, name="good")
    assert schedule_error(good) is None
    for order in ((schedule, good), (good, schedule)):
        assert minimum(0, order, utc("2026-01-01 12:00")) == Minimum(3, "good")


def test_workers_are_there_from_the_first_second_of_a_schedule_until_its_last() -> None:
    policy = Policy(20, schedules=(daily("0 8 * * *", "0 18 * * *"),))
    memory = settled(0, began=utc("2025-12-01 00:00"), busy_at=utc("2025-12-01 00:00"))
    for text, desired, why in (
        ("2026-01-01 07:59:59", 0, DecisionReason.IDLE),
        ("2026-01-01 08:00:00", 5, DecisionReason.MIN_REPLICAS),
        ("2026-01-01 17:59:59", 5, DecisionReason.MIN_REPLICAS),
        ("2026-01-01 18:00:00", 0, DecisionReason.IDLE),
    ):
        decision = decide(certain(0), Workers(0), policy, memory, utc(text))
        assert (decision.desired, decision.why) == (desired, why)


def test_the_days_of_the_reference_are_those_of_the_resource() -> None:
    assert [clocks.NAMES[day] for day in DAYS.split("|")] == list("0123456")
    assert clocks.numbers("1-10/3,50,*/20", 0, 59) == [0, 1, 4, 7, 10, 20, 40, 50]


def _field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    spans = st.tuples(st.integers(least, most - 1), st.integers(1, most)).filter(lambda span: span[0] < span[1])
    ranges = spans.map(lambda span: f"{span[0]}-{span[1]}")
    plain = number.map(str) | ranges | st.tuples(ranges, st.integers(1, 9)).map(lambda part: f"{part[0]}/{part[1]}")
    return st.lists(plain, min_size=1, max_size=2).map(",".join) | st.integers(2, 20).map(lambda step: f"*/{step}")


DAY = st.sampled_from([("*", "*")] * 4 + [("*", "MON-FRI"), ("*", "SUN"), ("1", "*"), ("29", "2"), ("13", "5")])
HOURS = st.sampled_from(["0", "1", "2", "3", "1-3", "22", "8", "*", "*/2"]) | _field(0, 23)
MONTHS = st.sampled_from(["*"] * 4 + ["2", "MAR,APR", "10-11"])


@st.composite
def crons(draw: st.DrawFn) -> str:
    day, weekday = draw(DAY)
    return f"{draw(_field(0, 59))} {draw(HOURS)} {day} {draw(MONTHS)} {weekday}"


@given(crons(), crons(), st.sampled_from(ZONES), st.data())
def test_a_schedule_is_on_when_clocks_looked_at_every_minute_say_so(
    start: str, end: str, zone: str, data: st.DataObject
) -> None:
    """Compared around its own changes, around those of the clocks, and anywhere in a leap year."""
    schedule = daily(start, end, zone)
    if schedule_error(schedule) is not None:
        return
    own, minute = sorted(clocks.changes(schedule)), timedelta(minutes=1)
    some = [own[data.draw(st.integers(0, len(own) - 1))] for _ in range(10)] if own else []
    some += [clocks.BEGIN + timedelta(minutes=data.draw(st.integers(50_000, 570_000))) for _ in range(10)]
    around = [shift + n * 15 * minute for shift in clocks.shifts(zone) for n in range(-8, 16)]
    for now in (*some, *(each - minute for each in some), *around):
        expected = clocks.is_on(schedule, now)
        if expected is not None and clocks.BEGIN < now < clocks.END:
            assert is_on(schedule, now) is expected, now
