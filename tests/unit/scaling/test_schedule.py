"""Schedules: active from minute to minute, in several time zones, across changes of daylight saving time."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskqueue_operator.resource import schedule as resource
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.schedule import CRON, DAYS, MACROS, NO_DATE
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Workers
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.schedule import Minimum, Schedule, effective_minimum, is_active, schedule_error
from tests.approved import assert_approved

from . import reference_schedule
from .builders import certain, settled

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
    "a skipped start is at the change of the clock": (
        daily("30 2 * * *", "0 12 * * *", "Europe/Paris"),
        {"2026-03-29 01:00": True, "2026-03-29 10:00": False},
    ),
    "a skipped start and a skipped end": (
        daily("15 2 * * *", "45 2 * * *", "Europe/Paris"),
        {"2026-03-28 01:15": True, "2026-03-28 01:45": False, "2026-03-30 00:15": True},
    ),
    "the first occurrence of an end that occurs twice": (
        daily("0 22 * * *", "30 2 * * *", "Europe/Paris"),
        {"2026-10-24 20:00": True, "2026-10-25 00:30": False, "2026-10-25 21:00": True},
    ),
    "the first occurrence of a start that occurs twice": (
        daily("30 1 * * *", "0 5 * * *", "America/New_York"),
        {"2026-11-01 05:30": True, "2026-11-01 10:00": False},
    ),
    "a skipped hour in New York": (
        daily("0 2 * * 0", "0 3 * * 0", "America/New_York"),
        {"2026-03-01 07:00": True, "2026-03-01 08:00": False, "2026-03-15 06:00": True},
    ),
    "a skipped half hour at Lord Howe": (
        daily("15 2 * * *", "0 4 * * *", "Australia/Lord_Howe"),
        {"2026-10-03 15:30": True, "2026-10-03 17:00": False},
    ),
    "a half hour that occurs twice at Lord Howe": (
        daily("45 1 * * *", "50 1 * * *", "Australia/Lord_Howe"),
        {"2026-04-04 14:45": True, "2026-04-04 14:50": False, "2026-04-05 15:15": True},
    ),
    "a UTC offset with half an hour": (
        daily("0 9 * * *", "0 17 * * *", "Asia/Kolkata"),
        {"2026-06-01 03:30": True, "2026-06-01 11:30": False},
    ),
    "across midnight": (daily("0 22 * * *", "0 6 * * *"), {"2026-01-01 22:00": True, "2026-01-02 06:00": False}),
    "across midnight into daylight saving time": (
        daily("0 22 * * *", "0 6 * * *", "Europe/Paris"),
        {"2026-03-28 21:00": True, "2026-03-29 04:00": False},
    ),
    "across midnight out of daylight saving time": (
        daily("0 22 * * *", "0 6 * * *", "Europe/Paris"),
        {"2026-10-24 20:00": True, "2026-10-25 05:00": False},
    ),
    "a weekend": (
        daily("0 18 * * FRI", "0 8 * * MON"),
        {"2026-01-02 18:00": True, "2026-01-05 08:00": False},
    ),
    "across the turn of the year": (
        daily("0 0 24 12 *", "0 0 2 JAN *"),
        {"2025-12-24 00:00": True, "2026-01-02 00:00": False},
    ),
    "only in months with 31 days": (
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


@pytest.mark.parametrize(("schedule", "changes"), CASES.values(), ids=CASES.keys())
def test_a_schedule_changes_at_the_minute(schedule: Schedule, changes: dict[str, bool]) -> None:
    for text, active in changes.items():
        at = utc(text)
        assert (is_active(schedule, at - SECOND), is_active(schedule, at), is_active(schedule, at + 59 * SECOND)) == (
            not active,
            active,
            active,
        )


def test_a_schedule_of_a_leap_day_is_inactive_in_other_years() -> None:
    leap = daily("0 0 29 2 *", "0 0 1 3 *")
    assert not any(is_active(leap, utc("2026-02-25 00:00") + timedelta(hours=n)) for n in range(240))


@pytest.mark.slow
@pytest.mark.parametrize(("start", "end", "active"), [("15 2", "45 2", False), ("45 2", "15 2", True)])
def test_a_skipped_start_and_a_skipped_end_keep_their_order(start: str, end: str, active: bool) -> None:  # noqa: FBT001
    """Both are at the same instant. Without the order, a schedule whose start is last would be inactive for a day."""
    both = daily(f"{start} * * *", f"{end} * * *", "Europe/Paris")
    assert is_active(both, utc("2026-03-29 00:59")) is active
    assert {is_active(both, utc("2026-03-29 01:00") + timedelta(minutes=n)) for n in range(600)} == {active}


def test_the_highest_minimum_of_all_active_schedules_applies() -> None:
    day, noon = (
        daily("0 8 * * *", "0 18 * * *", replicas=3, name="day"),
        daily("0 12 * * *", "0 13 * * *", replicas=7, name="noon"),
    )
    highest = [
        effective_minimum(2, (noon, day), utc(f"2026-01-01 {hour}:30")) for hour in ("07", "08", "12", "13", "18")
    ]
    assert highest == [Minimum(2), Minimum(3, "day"), Minimum(7, "noon"), Minimum(3, "day"), Minimum(2)]


def test_a_schedule_below_min_replicas_changes_nothing() -> None:
    assert effective_minimum(5, (daily("* * * * *", "0 0 29 2 *", replicas=3),), utc("2026-01-01 00:00")) == Minimum(5)


@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        (daily("0 8 * * *", "0 18 * * *", "Mars/Olympus"), "schedule.unknown_time_zone"),
        (daily("0 8 31 FEB *", "0 18 * * *"), "schedule.day_that_never_comes"),
        (daily("0 8 * * *", "0 18 * * FRI-MON"), "schedule.invalid_range"),
    ],
    ids=["zone", "day", "range"],
)
def test_an_invalid_schedule_has_an_error_and_does_not_affect_the_others(schedule: Schedule, key: str) -> None:
    fault = schedule_error(schedule)
    assert fault is not None
    assert (fault.reason, fault.terminal) == (Reason.INVALID_SPEC, True)
    assert_approved(key, fault.message)
    valid = daily("0 8 * * *", "0 18 * * *", replicas=3, name="valid")
    assert schedule_error(valid) is None
    for order in ((schedule, valid), (valid, schedule)):
        assert effective_minimum(0, order, utc("2026-01-01 12:00")) == Minimum(3, "valid")


def test_the_minimum_applies_from_the_first_to_the_last_second_of_a_schedule() -> None:
    policy = Policy(20, schedules=(daily("0 8 * * *", "0 18 * * *"),))
    memory = settled(0, began=utc("2025-12-01 00:00"), busy_at=utc("2025-12-01 00:00"))
    for text, desired, reason in (
        ("2026-01-01 07:59:59", 0, DecisionReason.IDLE),
        ("2026-01-01 08:00:00", 5, DecisionReason.MIN_REPLICAS),
        ("2026-01-01 17:59:59", 5, DecisionReason.MIN_REPLICAS),
        ("2026-01-01 18:00:00", 0, DecisionReason.IDLE),
    ):
        decision = decide(certain(0), Workers(0), policy, memory, utc(text))
        assert (decision.desired, decision.reason) == (desired, reason)


def test_the_reference_uses_the_day_names_of_the_resource() -> None:
    assert [reference_schedule.NAMES[day] for day in DAYS.split("|")] == list("0123456")
    assert reference_schedule.numbers("1-10/3,50,*/20", 0, 59) == [0, 1, 4, 7, 10, 20, 40, 50]


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


@pytest.mark.slow
@given(crons(), crons(), st.sampled_from(ZONES), st.data())
def test_a_schedule_is_active_when_the_brute_force_reference_is(
    start: str, end: str, zone: str, data: st.DataObject
) -> None:
    """Compared around the changes of the schedule, around changes of the clock, and at random times of a leap year."""
    schedule = daily(start, end, zone)
    if schedule_error(schedule) is not None:
        return
    own, minute = sorted(reference_schedule.changes(schedule)), timedelta(minutes=1)
    some = [own[data.draw(st.integers(0, len(own) - 1))] for _ in range(10)] if own else []
    some += [reference_schedule.BEGIN + timedelta(minutes=data.draw(st.integers(50_000, 570_000))) for _ in range(10)]
    around = [shift + n * 15 * minute for shift in reference_schedule.shifts(zone) for n in range(-8, 16)]
    for now in (*some, *(at - minute for at in some), *around):
        expected = reference_schedule.is_active(schedule, now)
        if expected is not None and reference_schedule.BEGIN < now < reference_schedule.END:
            assert is_active(schedule, now) is expected, now


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_is_a_schedule_like_any_other(macro: str) -> None:
    body = {"name": "a", "start": macro, "end": "30 12 * * *", "minReplicas": 1}
    schedule = Schedule.of(resource.Schedule.model_validate(body))
    assert schedule_error(schedule) is None
    assert is_active(schedule, utc("2023-01-01 00:00"))  # a Sunday, and the first day of a year


@pytest.mark.parametrize(
    ("expression", "valid"),
    [
        ("0 8 * * mon-fri", True),
        ("0 8 * Jan,feb Mon", True),
        ("*/15 0-23/2 1,15 * 7", True),
        ("0 0 29 2 *", True),
        ("0 0 30 2 MON", True),  # the day of the week alone is enough
        ("every day at 8", False),
        ("0 25 * * *", False),
        ("60 8 * * *", False),
        ("0 0 32 * *", False),
        ("0 0 * *", False),
        ("0 0 * * * *", False),
        ("0 0 30 2 *", False),
        ("0 0 30,31 FEB *", False),
        ("0 0 31 4,6,9,11 *", False),
        ("@reboot", False),
        ("", False),
    ],
)
def test_the_rules_of_the_crd_accept_and_refuse_these_expressions(expression: str, *, valid: bool) -> None:
    accepted = re.match(CRON, expression) is not None and not re.match(NO_DATE, expression)
    assert accepted is valid


@pytest.mark.slow
@given(st.from_regex(CRON.replace("(?i)^", "").replace("$", ""), fullmatch=True), st.sampled_from(ZONES))
@example("0 0 29 2 */7", "Europe/Paris")
@example("0 0 31 2,4,6 *", "Europe/Paris")
def test_every_expression_that_the_crd_accepts_is_decided_on_or_refused(expression: str, zone: str) -> None:
    schedule = daily(expression, "0 0 * * *", zone)
    fault = schedule_error(schedule)
    assert fault is None or fault.reason is Reason.INVALID_SPEC
    assert is_active(schedule, utc("2026-01-01 12:00")) in {True, False}
