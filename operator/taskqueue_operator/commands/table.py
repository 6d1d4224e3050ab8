"""Shows what operations return, for a terminal. All texts from outside are on one line and printable. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.dead_letters.destination import EXPLANATIONS
from taskqueue_operator.dead_letters.groups import Figures
from taskqueue_operator.dead_letters.report import Json

from .operations import Survey
from .redrive import Redriven

HEADER: Final = ("TYPE", "REASON", "CLASS", "COUNT", "OLDEST", "NEWEST")
NONE: Final = "-"
_UNITS: Final = ((timedelta(days=2), timedelta(days=1), "d"), (timedelta(hours=2), timedelta(hours=1), "h"),
                 (timedelta(minutes=2), timedelta(minutes=1), "m"))  # fmt: skip
"""From which age on which unit is used, as kubectl does."""


def groups_table(name: str, found: Survey, now: datetime) -> Iterable[str]:
    """Return the lines of a listing, with the ages of the first and the last failure."""
    groups = found.groups
    rows = [(*map(_text, group), *_figures(figures, now)) for group, figures in groups.largest_first()]
    if groups.others.count:
        rows.append(("(further groups)", "", "", *_figures(groups.others, now)))
    yield from columns([HEADER, *rows] if rows else [])
    unread = f" Only the {found.read} oldest were read; see --limit." if found.read < found.ready else ""
    yield f'{found.ready} dead letters in queue "{name}".{unread}'


def letter_lines(letter: Json) -> Iterable[str]:
    """Return the lines of one dead letter."""
    headers = letter["headers"]
    shown = {name: value for name, value in letter.items() if name != "headers" and value not in (None, "")}
    yield from (f"{name + ':':14} {value}" for name, value in shown.items())
    if isinstance(headers, Mapping) and headers:
        yield "headers:"
        yield from (f"  {name}: {value}" for name, value in headers.items())


def redriven_lines(result: Redriven) -> Iterable[str]:
    """Return the lines about a redrive that has ended, early or not."""
    yield f"{result.redriven} of {result.selected} selected dead letters have returned to their queues."
    for kept, count in result.kept.most_common():
        yield f"{count} stay: {EXPLANATIONS[kept]}."
    if result.gave_up:
        yield "The redrive has ended early, because no queue accepted the last messages. Repeat it when the queue does."
    elif result.unread:
        yield f"{result.unread} dead letters were not read. Repeat the command, or see --limit."


def columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Return rows with equally wide columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def age(time: datetime | None, now: datetime) -> str:
    """Return how long ago a time was; a message may contain any, also one in the future."""
    if time is None:
        return NONE
    passed = now - time
    for least, unit, letter in _UNITS:
        if passed >= least:
            return f"{passed // unit}{letter}"
    return f"{max(0, int(passed.total_seconds()))}s"


def _figures(figures: Figures, now: datetime) -> tuple[str, str, str]:
    return str(figures.count), age(figures.oldest, now), age(figures.newest, now)


def _text(value: str) -> str:
    return value or NONE
