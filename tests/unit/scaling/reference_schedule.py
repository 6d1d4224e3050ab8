"""A brute-force reference for schedules: every minute of some years, and what a clock on the wall shows then."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from taskqueue_operator.scaling.schedule import Schedule

BEGIN, END = datetime(2027, 12, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
"""A leap year, and a month to have had starts and ends."""
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
"""For each day, for each hour and minute: when the clock shows it, which may be never, once or twice."""


@cache
def clock(time_zone: str) -> Clock:
    shown: Clock = {}
    zone, now = ZoneInfo(time_zone), BEGIN
    while now < END:
        there = now.astimezone(zone)
        shown.setdefault(there.date(), {}).setdefault((there.hour, there.minute), []).append(now)
        now += MINUTE
    return shown


class Moment(NamedTuple):
    """When a clock shows a time, or would, were it not skipped: then when it goes on. Of two moments, the first."""

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
    """Whether the last start is later than the last end; None when there was not yet one of both.

    Where the clock skips both, they are at one moment, in the order in which it would have shown them.
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
    """All starts and ends."""
    ends = moments(schedule.end, schedule.time_zone)
    return [each.at for each in (*moments(schedule.start, schedule.time_zone), *ends)]


def shifts(time_zone: str) -> list[datetime]:
    """When the clock is put forward or back."""
    zone, hours = ZoneInfo(time_zone), int((END - BEGIN) / timedelta(hours=1))
    return [
        now
        for now in (BEGIN + n * timedelta(hours=1) for n in range(hours))
        if now.astimezone(zone).utcoffset() != (now - timedelta(hours=1)).astimezone(zone).utcoffset()
    ]


@cache
def numbers(field: str, least: int, most: int) -> list[int]:
    """The numbers of a field: stars, ranges, steps, lists, names."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        for name, number in NAMES.items():
            span = span.replace(name, number)
        first, _, last = (f"{least}-{most}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or (most if step else first)) + 1, int(step or 1)))
    return sorted(found)


def _is_day(day: date, days: str, weekdays: str) -> bool:
    """As in cron: where neither begins with a star, one of them is enough."""
    matches = day.day in numbers(days, 1, 31), day.isoweekday() % 7 in {n % 7 for n in numbers(weekdays, 0, 7)}
    return all(matches) if days.startswith("*") or weekdays.startswith("*") else any(matches)


def _next(shown: dict[tuple[int, int], list[datetime]], hour: int, minute: int) -> list[datetime]:
    """When the clock goes on; nothing on a day of which less than all is known."""
    later = [times[0] for time, times in shown.items() if time > (hour, minute)]
    earlier = [times[0] for time, times in shown.items() if time < (hour, minute)]
    return [min(later)] if later and earlier else []
