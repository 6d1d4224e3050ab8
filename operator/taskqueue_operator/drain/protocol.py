"""The messages of the control protocol: reads what workers report, writes what they are told.

The words are those of `docs/control-protocol.md`.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import override

VERSION: Final = 1
LEASE_SECONDS: Final = 60
"""How long a worker stays drained by one command."""

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class State(StrEnum):
    """What a worker says of itself."""

    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    DRAINED = "drained"
    LEAVING = "leaving"


class Verb(StrEnum):
    """What a worker can be told."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    REPORT = "report"


class Result(StrEnum):
    """How a worker answers."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, order=True)
class FencingToken:
    """Where commands stand in the order of all: the epoch of a leadership, and a number that rises within it.

    The annotation of a Deployment whose workers are, or may be, drained.
    """

    epoch: int
    seq: int

    @classmethod
    def parse(cls, annotation: str) -> Self | None:
        """Read what `str` wrote; None for anything else."""
        epoch, _, seq = annotation.partition(".")
        ours = all(part.isascii() and part.isdecimal() for part in (epoch, seq))
        return cls(int(epoch), int(seq)) if ours else None

    @override
    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


@dataclass(frozen=True, slots=True)
class Drain:
    """The command that a worker is drained by."""

    installation: str
    epoch: Count
    seq: Count


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the command with this id."""

    id: str
    result: Result
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's report; what the fields mean stands in the protocol."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    version: Literal[1]
    taskqueue: str
    pod: str
    incarnation: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    number: Annotated[int, Field(ge=1)]
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

    @classmethod
    def parse(cls, message: bytes) -> "Report":
        """Read a report.

        Raises:
            Unreadable: It is of another version, or not as the protocol says.
        """
        try:
            return _reports().validate_json(message, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Unreadable(f"{where}: {first['msg']}" if where else first["msg"]) from None


class Unreadable(ValueError):
    """A message that is no report of this version; the text names the field, and holds nothing of the message."""


@dataclass(frozen=True, slots=True)
class Command:
    """What one incarnation of a worker is told."""

    id: str
    command: Verb
    incarnation: str
    installation: str
    epoch: int
    seq: int
    lease_seconds: int = LEASE_SECONDS

    def write(self) -> bytes:
        """Write it as the protocol says."""
        return json.dumps({"version": VERSION} | asdict(self), separators=(",", ":")).encode()


@cache
def _reports() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
