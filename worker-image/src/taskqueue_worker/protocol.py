"""The messages of docs/control-protocol.md: how a command is read, how a report is written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

VERSION: Final = 1
EXCHANGE: Final = "taskqueue.reports"
MAX_LEASE_SECONDS: Final = 120
"""Not longer than the memory for an installation's last command, so that a drain never outlives that memory."""

_QUOTED_CHARACTERS = 40


class State(StrEnum):
    """What a worker is doing, as the operator sees it."""

    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    DRAINED = "drained"
    LEAVING = "leaving"


class Name(StrEnum):
    """What a command asks for."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    REPORT = "report"


class Result(StrEnum):
    """How a command was answered."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True)
class Drain:
    """The command that a worker is drained by."""

    installation: str
    epoch: int
    seq: int


@dataclass(frozen=True)
class Command:
    """One that is well formed and meant for this process."""

    id: str
    name: Name
    drain: Drain
    lease_seconds: float
    """0 unless it is a drain."""


@dataclass(frozen=True)
class Answer:
    """To the command with that id."""

    id: str
    result: Result = Result.DONE
    reason: str | None = None


@dataclass(frozen=True)
class Identity:
    """Which worker reports."""

    taskqueue: str
    pod: str
    incarnation: str
    task_timeout_seconds: int


@dataclass(frozen=True)
class Facts:
    """What a worker knows of itself at one moment."""

    state: State
    in_flight: int
    prefetched: int
    idle_seconds: float
    oldest_seconds: float | None
    completed: int
    failed: int
    busy_seconds: float
    drain: Drain | None


def state(*, leaving: bool, shut: bool, quiet: bool, busy: bool, consuming: bool) -> State:
    """What a worker is doing: `shut` takes no messages, `quiet` is certain to get none, `busy` holds or runs some."""
    if leaving:
        return State.LEAVING
    if shut:
        return State.DRAINED if quiet and not busy else State.DRAINING
    return State.CONSUMING if consuming else State.STARTING


def report(identity: Identity, number: int, facts: Facts, answer: Answer | None) -> bytes:
    """Write the report of that number."""
    return orjson.dumps({"version": VERSION, "number": number, **asdict(identity), **asdict(facts), "answer": answer})


def read(body: bytes, incarnation: str) -> Command | Answer | None:
    """The command; or its refusal, when it cannot be understood; or None, when it is to be ignored."""
    try:
        message = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(message, dict) or not isinstance(id_ := message.get("id"), str) or not id_:
        return None
    try:
        return _command(id_, message, incarnation)
    except _MalformedError as error:
        return Answer(id_, Result.REFUSED, str(error))


class _MalformedError(Exception):
    """A command cannot be understood. The text is the reason of its refusal."""


def _command(id_: str, message: Mapping[str, Any], incarnation: str) -> Command | None:
    # The version comes first: what the other fields mean in another one is not known.
    if (version := _whole(message, "version")) != VERSION:
        raise _MalformedError(f"version {version} is not known: this worker speaks {VERSION}")
    if _text(message, "incarnation") != incarnation:
        return None
    name = _name(message)
    drain = Drain(_text(message, "installation"), _whole(message, "epoch"), _whole(message, "seq"))
    return Command(id_, name, drain, _lease(message) if name == Name.DRAIN else 0)


def _name(message: Mapping[str, Any]) -> Name:
    text = _text(message, "command")
    try:
        return Name(text)
    except ValueError:
        raise _MalformedError(f"command {_quoted(text)} is not known") from None


def _text(message: Mapping[str, Any], field: str) -> str:
    value = _present(message, field)
    if not isinstance(value, str) or not value:
        raise _MalformedError(f"{field} is {_quoted(value)}: not a text, or empty")
    return value


def _whole(message: Mapping[str, Any], field: str) -> int:
    value = _present(message, field)
    if type(value) is not int or value < 0:  # to isinstance, True is an int
        raise _MalformedError(f"{field} is {_quoted(value)}: not a whole number from 0")
    return value


def _lease(message: Mapping[str, Any]) -> float:
    value = _present(message, "lease_seconds")
    if type(value) not in {int, float} or not 0 < value <= MAX_LEASE_SECONDS:
        raise _MalformedError(f"lease_seconds is {_quoted(value)}: not a number above 0, up to {MAX_LEASE_SECONDS}")
    return float(value)


def _present(message: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if field not in message:
        raise _MalformedError(f"{field} is missing")
    return message[field]


def _quoted(value: object) -> str:
    return repr(value)[:_QUOTED_CHARACTERS]
