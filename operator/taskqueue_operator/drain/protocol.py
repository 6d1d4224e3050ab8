"""The messages of the control protocol: reads reports of workers, writes commands to them.

The names are those of `docs/control-protocol.md`.
"""

import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import override

from taskqueue_operator.resource.bounds import (
    DEPENDENCY_CHARACTERS,
    REPORT_BYTES,
    REPORT_DEPENDENCIES,
    REPORT_NUMBER,
    REPORT_TEXT_CHARACTERS,
)

VERSION: Final = 1
LEASE_SECONDS: Final = 60
"""How long one `drain` command keeps a worker drained."""

Count = Annotated[int, Field(ge=0, le=REPORT_NUMBER)]
Seconds = Annotated[float, Field(ge=0, le=REPORT_NUMBER, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=REPORT_TEXT_CHARACTERS)]
Dependency = Annotated[str, Field(pattern=f"^[A-Za-z0-9._-]{{1,{DEPENDENCY_CHARACTERS}}}$")]


_TOKEN: Final = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})")


class State(StrEnum):
    """The state that a worker reports."""

    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    DRAINED = "drained"
    LEAVING = "leaving"


class Verb(StrEnum):
    """What a command asks of a worker."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    REPORT = "report"


class Result(StrEnum):
    """How a worker answers a command."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, order=True)
class FencingToken:
    """The order of commands: the epoch of a leader, and a sequence number that rises within it.

    Written as annotation `taskqueue.dev/drain` of a Deployment while its workers are, or may be, drained.
    """

    epoch: int
    seq: int

    @classmethod
    def parse(cls, annotation: str) -> Self | None:
        """Parse what `str` returns; None for anything else."""
        found = _TOKEN.fullmatch(annotation)
        return cls(int(found[1]), int(found[2])) if found is not None else None

    @override
    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


@dataclass(frozen=True, slots=True)
class Drain:
    """The command that has drained a worker."""

    installation: Text
    epoch: Count
    seq: Count


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of the command with this id."""

    id: Text
    result: Result
    reason: Text | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's report; `docs/control-protocol.md` describes the fields."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    version: Literal[1]
    taskqueue: str
    pod: Text
    incarnation: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    number: Annotated[int, Field(ge=1, le=REPORT_NUMBER)]
    state: State
    in_flight: Count
    prefetched: Count
    idle_seconds: Seconds
    oldest_seconds: Seconds | None
    completed: Count
    failed: Count
    busy_seconds: Seconds
    task_timeout_seconds: Seconds
    drain: Drain | None
    answer: Answer | None
    dead_letters_blocked: Count = 0
    unavailable_dependencies: Annotated[tuple[Dependency, ...], Field(max_length=REPORT_DEPENDENCIES)] = ()
    # The last two are missing in reports of earlier workers.

    @classmethod
    def parse(cls, message: bytes) -> "Report":
        """Parse a report.

        Raises:
            Unreadable: The report is of another version, or not as the protocol defines it.
        """
        if len(message) > REPORT_BYTES:
            raise Unreadable(f"{len(message)} bytes are more than {REPORT_BYTES}")
        try:
            return _reports().validate_json(message, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise Unreadable(f"{field}: {first['msg']}" if field else first["msg"]) from None


class Unreadable(ValueError):
    """The message is no report of this version. The text names the field and contains nothing of the message."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command to one incarnation of a worker."""

    id: str
    command: Verb
    incarnation: str
    installation: str
    epoch: int
    seq: int
    lease_seconds: int = LEASE_SECONDS

    def write(self) -> bytes:
        """Return the message as the protocol defines it."""
        return json.dumps({"version": VERSION} | asdict(self), separators=(",", ":")).encode()


@cache
def _reports() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
