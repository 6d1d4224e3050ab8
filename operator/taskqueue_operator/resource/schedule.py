"""Schedules: a lower limit for replicas at times of the day or week."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .fields import Model, rule, rules

MONTHS: Final = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
DAYS: Final = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _field(value: str) -> str:
    # Without backslashes, which a CEL expression would need twice.
    part = rf"([*]|({value})(-({value}))?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


CRON: Final = "(?i)^{}$".format(
    " +".join(
        map(
            _field,
            (
                "[0-5]?[0-9]",
                "[01]?[0-9]|2[0-3]",
                "0?[1-9]|[12][0-9]|3[01]",
                f"0?[1-9]|1[0-2]|{MONTHS}",
                f"[0-7]|{DAYS}",
            ),
        )
    )
)
"""Minute, hour, day of month, month, day of week: numbers and names, ranges, steps, lists."""

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_30: Final = "[^ ]+ +[^ ]+ +3[01]([,-]3[01])* +(0?2|feb) +[*].*"
_31: Final = "[^ ]+ +[^ ]+ +31 +(0?[2469]|11|feb|apr|jun|sep|nov)(,(0?[2469]|11|feb|apr|jun|sep|nov))* +[*].*"
NO_DATE: Final = f"(?i)^({_30}|{_31})$"
"""The dates that no year has, as a user writes them by mistake; a schedule with another one is refused later."""

Cron = Annotated[
    str,
    Field(
        max_length=100,
        json_schema_extra=rules(
            rule(
                f"self in [{', '.join(map(repr, MACROS))}] || self.matches('{CRON}')",
                "is not a cron expression. Write minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or "
                "JAN-DEC) and day of the week (0-7 or SUN-SAT), for example 0 8 * * MON-FRI. Each is *, a number, a "
                "range, a list or a step such as */15. Or write @hourly, @daily, @weekly, @monthly or @yearly.",
                value="self",
            ),
            rule(
                f"!self.matches('{NO_DATE}')",
                "names a date that no year has. Correct the day of the month or the month.",
                value="self",
            ),
        ),
    ),
]


class Schedule(Model):
    """Lower limit for replicas from each `start` to the next `end`."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("self.start != self.end", "end is equal to start. Set another time.", path=".end"))
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the schedule, shown in status.decision."
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] = Field(
        "UTC",
        description="Time zone of start and end, such as Europe/Paris.",
        json_schema_extra=rules(
            # An unknown zone is an evaluation error, which rejects the object too.
            rule(
                "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
                "timeZone is not in the time zone database. Use a name such as Europe/Paris.",
            )
        ),
    )
    start: Cron = Field(description='Start of the schedule as a cron expression, such as "0 8 * * 1-5".')
    end: Cron = Field(description='End of the schedule as a cron expression, such as "0 18 * * 1-5".')
    min_replicas: int = Field(ge=1, le=10000, description="Lower limit for replicas while the schedule is active.")
