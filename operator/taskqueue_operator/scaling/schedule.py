"""Minimums at times of the day or week.

A schedule is on when its last start is later than its last end. Both are moments, not clock times: one that the clock
shows twice, when summer time ends, counts once, the first time; one that it skips counts when the clock goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taskqueue_operator.resource import schedule as resource
from taskqueue_operator.resource.faults import Fault, Reason

MINUTE: Final = timedelta(minutes=1)
LARGEST_SHIFT: Final = timedelta(hours=3)
"""More than any clock was ever put back by at once."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """At least `min_replicas` from each `start` to the next `end`, both as in cron, by the clocks of `time_zone`."""

    name: str
    time_zone: str
    start: str
    end: str
    min_replicas: int

    @classmethod
    def of(cls, spec: resource.Schedule) -> Self:
        """Take a schedule out of a spec."""
        return cls(spec.name, spec.time_zone, spec.start, spec.end, spec.min_replicas)


class Minimum(NamedTuple):
    """The least number of workers, and the schedule that says so; None: minReplicas."""

    replicas: int
    schedule: str | None = None


def minimum(min_replicas: int, schedules: Iterable[Schedule], now: datetime) -> Minimum:
    """Say which minimum holds now: where schedules overlap, the highest; one that cannot be read is left out."""
    highest = Minimum(min_replicas)
    for schedule in schedules:
        if schedule.min_replicas > highest.replicas and is_on(schedule, now):
            highest = Minimum(schedule.min_replicas, schedule.name)
    return highest


def is_on(schedule: Schedule, now: datetime) -> bool:
    """Whether a schedule's last start is later than its last end."""
    if schedule_error(schedule) is not None:
        return False
    minute = now.replace(second=0, microsecond=0)
    start, end = (_last(each, schedule.time_zone, minute) for each in (schedule.start, schedule.end))
    return start is not None and (end is None or start > end)


@lru_cache(maxsize=4096)
def schedule_error(schedule: Schedule) -> Fault | None:
    """Say why a schedule cannot be read, if so: what the API server lets through, as it knows less of cron than we."""
    where = f"spec.scaling.schedules[{schedule.name}]"
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = (
            f'{where}.timeZone: the operator knows no time zone "{schedule.time_zone}". Write it as in Europe/Paris.'
        )
        return Fault(Reason.INVALID_SPEC, message, terminal=True)
    for field, expression in (("start", schedule.start), ("end", schedule.end)):
        try:
            next(CronSim(expression, datetime(2000, 1, 1, tzinfo=zone)))
        except (CronSimError, StopIteration) as error:
            message = f'{where}.{field}: "{expression}" is no time that ever comes ({error}). Correct the field.'
            return Fault(Reason.INVALID_SPEC, message, terminal=True)
    return None


@lru_cache(maxsize=4096)
def _last(expression: str, time_zone: str, minute: datetime) -> tuple[datetime, datetime] | None:
    """Find the last moment until and with a minute, and what the clock shows; cached: each decision asks for it.

    Of a start and an end that the clock skips, which are at one moment, the later is the one it would show later.
    """
    zone = ZoneInfo(time_zone)
    # Beginning later: an hour that the clock shows for the second time hides what was at its first. And without a
    # zone: with one, some expressions would count by the clock and others by the time that passes.
    later = (minute + LARGEST_SHIFT).astimezone(zone).replace(tzinfo=None)
    for shown in CronSim(expression, later, reverse=True):
        if (at := _moment(shown, zone)) <= minute:
            return at, shown
    return None


def _moment(shown: datetime, zone: ZoneInfo) -> datetime:
    """Say when a clock shows a time: of two moments the first, for one that is skipped when the clock goes on."""
    at = shown.replace(tzinfo=zone)
    while (moment := at.astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != at.replace(tzinfo=None):
        at += MINUTE
    return moment
