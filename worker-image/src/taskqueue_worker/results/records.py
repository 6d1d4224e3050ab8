"""Records of tasks in a store."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

Fields = Mapping[str, str]


class Rule(StrEnum):
    """When a record is changed. One of a done task never is, whatever arrives later."""

    IF_ABSENT = "if_absent"
    SAME_RUN = "same_run"
    """If it is of the same run: a later one has not begun."""
    ALWAYS = "always"


class Written(NamedTuple):
    """The answer to a write.

    Attributes:
        is_written: Whether the rule allowed it.
        checkpoint: The checkpoint of the record as JSON; empty if there is none.
    """

    is_written: bool
    checkpoint: str


class Records(Protocol):
    """Records by the key of a task.

    Raises:
        StoreUnavailableError: From each method.
    """

    async def write(self, key: str, fields: Fields, rule: Rule, keep_seconds: float) -> Written:
        """Set these fields, and keep the record for so long from now on."""
        ...

    async def read(self, key: str) -> Fields | None:
        """Return all fields."""
        ...
