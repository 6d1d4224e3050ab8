"""Schedules: a higher minimum of replicas at times of the day or week.

A schedule is active if its last start is later than its last end. Both are instants, not clock times: a clock time that
occurs twice, when daylight saving time ends, counts once, at its first occurrence; a clock time that is skipped counts
at the instant at which the clock is set forward.
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
"""Longer than any clock was ever set back at once."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """At least `min_replicas` from each `start` to the next `end`, both cron expressions in `time_zone`."""

    name: str
    time_zone: str
    start: str
    end: str
    min_replicas: int

    @classmethod
    def of(cls, spec: resource.Schedule) -> Self:
        """Return the schedule of a spec."""
        start, end = (resource.MACROS.get(text, text) for text in (spec.start, spec.end))
        return cls(spec.name, spec.time_zone, start, end, spec.min_replicas)


class Minimum(NamedTuple):
    """A minimum of replicas, and the schedule that sets it; None: minReplicas."""

    replicas: int
    schedule: str | None = None


def effective_minimum(min_replicas: int, schedules: Iterable[Schedule], now: datetime) -> Minimum:
    """Return the highest minimum of minReplicas and all active schedules; invalid schedules are ignored."""
    highest = Minimum(min_replicas)
    for schedule in schedules:
        if schedule.min_replicas > highest.replicas and is_active(schedule, now):
            highest = Minimum(schedule.min_replicas, schedule.name)
    return highest


def is_active(schedule: Schedule, now: datetime) -> bool:
    """Whether the last start of a schedule is later than its last end."""
    if schedule_error(schedule) is not None:
        return False
    minute = now.replace(second=0, microsecond=0)
    start = _last_occurrence(schedule.start, schedule.time_zone, minute)
    end = _last_occurrence(schedule.end, schedule.time_zone, minute)
    return start is not None and (end is None or start > end)


@lru_cache(maxsize=4096)
def schedule_error(schedule: Schedule) -> Fault | None:
    """Return why a schedule is invalid, if it is: the pattern of the CRD accepts some invalid cron expressions."""
    path = f"spec.scaling.schedules[{schedule.name}]"
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f'{path}.timeZone: unknown time zone "{schedule.time_zone}". Use a name such as Europe/Paris.'
        return Fault(Reason.INVALID_SPEC, message, terminal=True)
    for field, expression in (("start", schedule.start), ("end", schedule.end)):
        try:
            next(CronSim(expression, datetime(2000, 1, 1, tzinfo=zone)))
        except (CronSimError, StopIteration) as error:
            message = (
                f'{path}.{field}: the cron expression "{expression}" matches no time ({error}). Correct the field.'
            )
            return Fault(Reason.INVALID_SPEC, message, terminal=True)
    return None


@lru_cache(maxsize=4096)
def _last_occurrence(expression: str, time_zone: str, minute: datetime) -> tuple[datetime, datetime] | None:
    """Return the last instant up to `minute` that an expression matches, and its clock time.

    Cached, as each decision needs it. The clock time orders a start and an end that are skipped together: both are at
    the same instant.
    """
    zone = ZoneInfo(time_zone)
    # Start later than `minute`: in an hour that occurs twice, the second occurrence hides clock times of the first.
    # Without a time zone: otherwise CronSim would match some expressions by clock time and others by elapsed time.
    later = (minute + LARGEST_SHIFT).astimezone(zone).replace(tzinfo=None)
    for clock_time in CronSim(expression, later, reverse=True):
        if (at := _first_instant(clock_time, zone)) <= minute:
            return at, clock_time
    return None


def _first_instant(clock_time: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant with a clock time; if it is skipped, the instant at which the clock is set forward."""
    at = clock_time.replace(tzinfo=zone)
    while (instant := at.astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != at.replace(tzinfo=None):
        at += MINUTE
    return instant
