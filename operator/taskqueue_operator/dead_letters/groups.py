"""Dead letters by task type, reason and exception class."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from taskqueue_operator.resource.bounds import DEAD_LETTER_GROUPS

from .letter import DeadLetter


class Group(NamedTuple):
    """What the dead letters of one group have in common."""

    type: str
    reason: str
    error_class: str


@dataclass(slots=True)
class Figures:
    """How many dead letters a group has, and when the first and the last of them failed; None if none says it.

    Attributes:
        bytes: Size of all bodies.
    """

    count: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter."""
        self.count += 1
        self.bytes += letter.body_bytes
        failed = letter.last_failure
        if failed is not None:
            self.oldest = failed if self.oldest is None else min(self.oldest, failed)
            self.newest = failed if self.newest is None else max(self.newest, failed)


class Groups:
    """Counts dead letters. Takes memory for `DEAD_LETTER_GROUPS` groups at most.

    Attributes:
        others: Dead letters of further groups.
    """

    def __init__(self) -> None:
        self.others = Figures()
        self._figures: dict[Group, Figures] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter."""
        group = Group(letter.type, letter.reason, letter.error_class)
        figures = self._figures.get(group)
        if figures is None:
            if len(self._figures) == DEAD_LETTER_GROUPS:
                self.others.add(letter)
                return
            figures = self._figures[group] = Figures()
        figures.add(letter)

    def largest_first(self) -> Sequence[tuple[Group, Figures]]:
        """Return all groups; of two with the same count, in the order of their names."""
        return sorted(self._figures.items(), key=lambda item: (-item[1].count, item[0]))

    @property
    def count(self) -> int:
        """Number of dead letters, of all groups."""
        return self.others.count + sum(figures.count for figures in self._figures.values())
