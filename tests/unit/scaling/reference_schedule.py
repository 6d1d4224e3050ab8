"""A brute-force reference for schedules: the clock time of every minute of more than a year."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from taskqueue_operator.scaling.schedule import Schedule

BEGIN, END = datetime(2027, 12, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
"""A leap year, and a month before it that contains starts and ends."""
MINUTE: Final = timedelta(minutes=1)
NAMES: Final = {
    name: str(number)
    for names, first in (
        (("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 0),
        (("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1),
    )
    for number, name in enumerate(names, first)
}

Clock = dict[date, dict[tuple[int, int], list[datetime]]]
"""Instants of each day, hour and minute: none, one or two."""


@cache
def clock(time_zone: str) -> Clock:
    shown: Clock = {}
    zone, now = ZoneInfo(time_zone), BEGIN
    while now < END:
        local = now.astimezone(zone)
        shown.setdefault(local.date(), {}).setdefault((local.hour, local.minute), []).append(now)
        now += MINUTE
    return shown


class Moment(NamedTuple):
    """The first instant of a clock time; if it is skipped, the instant at which the clock is set forward."""

    at: datetime
    shown: tuple[date, int, int]


@cache
def moments(expression: str, time_zone: str) -> list[Moment]:
    minutes, hours, days, months, weekdays = expression.split()
    found = []
    for day, shown in clock(time_zone).items():
        if day.month not in numbers(months, 1, 12) or not _is_day(day, days, weekdays):
            continue
        for hour in numbers(hours, 0, 23):
            for minute in numbers(minutes, 0, 59):
                times = shown.get((hour, minute)) or _next(shown, hour, minute)
                found += [Moment(at, (day, hour, minute)) for at in times[:1]]
    return sorted(found)


def is_active(schedule: Schedule, now: datetime) -> bool | None:
    """Whether the last start is later than the last end; None if there was no start or no end yet.

    If both are skipped, they are at the same instant, in the order of their clock times.
    """
    lasts = []
    for expression in (schedule.start, schedule.end):
        found = moments(expression, schedule.time_zone)
        index = bisect_right(found, now, key=attrgetter("at"))
        if index == 0:
            return None
        lasts.append(found[index - 1])
    return lasts[0] > lasts[1]


def changes(schedule: Schedule) -> list[datetime]:
    """Return all starts and ends."""
    ends = moments(schedule.end, schedule.time_zone)
    return [moment.at for moment in (*moments(schedule.start, schedule.time_zone), *ends)]


def shifts(time_zone: str) -> list[datetime]:
    """Return the instants at which the clock is set forward or back."""
    zone, hours = ZoneInfo(time_zone), int((END - BEGIN) / timedelta(hours=1))
    return [
        now
        for now in (BEGIN + n * timedelta(hours=1) for n in range(hours))
        if now.astimezone(zone).utcoffset() != (now - timedelta(hours=1)).astimezone(zone).utcoffset()
    ]


@cache
def numbers(field: str, least: int, most: int) -> list[int]:
    """Return the numbers of a cron field: stars, ranges, steps, lists, names."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        for name, number in NAMES.items():
            span = span.replace(name, number)
        first, _, last = (f"{least}-{most}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or (most if step else first)) + 1, int(step or 1)))
    return sorted(found)


def _is_day(day: date, days: str, weekdays: str) -> bool:
    """Whether a day matches; as in cron, one of both fields is enough if neither begins with a star."""
    matches = day.day in numbers(days, 1, 31), day.isoweekday() % 7 in {n % 7 for n in numbers(weekdays, 0, 7)}
    return all(matches) if days.startswith("*") or weekdays.startswith("*") else any(matches)


def _next(shown: dict[tuple[int, int], list[datetime]], hour: int, minute: int) -> list[datetime]:
    """Return the instant at which the clock is set forward; nothing for a day that is known only in part."""
    later = [times[0] for time, times in shown.items() if time > (hour, minute)]
    earlier = [times[0] for time, times in shown.items() if time < (hour, minute)]
    return [min(later)] if later and earlier else []
