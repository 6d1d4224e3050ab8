"""The messages of docs/control-protocol.md: parses commands, builds reports."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeGuard

from .bounds import COMMAND_BYTES, COMMAND_INTEGER, COMMAND_TEXT_CHARACTERS, REPORT_DEPENDENCIES

VERSION: Final = 1
EXCHANGE: Final = "taskqueue.reports"
DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"
CONTENT_TYPE: Final = "application/json"
MAX_LEASE_SECONDS: Final = 120
"""Not longer than the memory of fencing tokens, so that a drain never outlives the token that protects it."""

_MAX_QUOTED_CHARACTERS: Final = 40
_REPR: Final = reprlib.Repr()
_REPR.maxstring = 4 * _MAX_QUOTED_CHARACTERS


class State(StrEnum):
    """The state of a worker."""

    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    DRAINED = "drained"
    LEAVING = "leaving"


class Verb(StrEnum):
    """The action that a command requests."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    REPORT = "report"


class Result(StrEnum):
    """The result of a command."""

    DONE = "done"
    REFUSED = "refused"


class FencingToken(NamedTuple):
    """Orders the commands of one installation: the epoch of a leadership, and a number that rises within it."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The source of a command: the installation and its fencing token."""

    installation: str
    epoch: int
    seq: int

    @property
    def token(self) -> FencingToken:
        """The fencing token."""
        return FencingToken(self.epoch, self.seq)


@dataclass(frozen=True, slots=True)
class Command:
    """A valid command for this incarnation of the worker."""

    id: str
    verb: Verb
    drain: Drain
    lease_seconds: float
    """0 for every command but drain."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the command with this id."""

    id: str
    result: Result = Result.DONE
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields of a report that identify the worker."""

    taskqueue: str
    pod: str
    incarnation: str
    task_timeout_seconds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a worker at one moment, named as in a report."""

    in_flight: int
    prefetched: int
    idle_seconds: float
    oldest_seconds: float | None
    completed: int
    failed: int
    busy_seconds: float
    dead_letters_blocked: int = 0
    unavailable_dependencies: tuple[str, ...] = ()
    """Names of services of others that tasks need and this worker does not reach, in a fixed order."""

    @property
    def is_busy(self) -> bool:
        """Whether a task runs, or a message waits in the worker."""
        return self.in_flight > 0 or self.prefetched > 0


def current_state(*, leaving: bool, closed: bool, quiet: bool, busy: bool, consuming: bool) -> State:
    """Return the state of a worker.

    Args:
        leaving: The worker shuts down.
        closed: The worker is drained: it starts no task.
        quiet: Every consumer is cancelled for certain, so no message arrives any more.
        busy: Messages are in flight or prefetched.
        consuming: Every queue has a consumer.
    """
    if leaving:
        return State.LEAVING
    if closed:
        return State.DRAINED if quiet and not busy else State.DRAINING
    return State.CONSUMING if consuming else State.STARTING


def build_report(  # noqa: PLR0913, PLR0917 - the fields of a report
    identity: Identity, number: int, state: State, figures: Figures, drain: Drain | None, answer: Answer | None
) -> bytes:
    """Build the report with this number."""
    report = {
        "version": VERSION,
        "number": number,
        "state": state,
        **asdict(identity),
        **asdict(figures),
        "unavailable_dependencies": figures.unavailable_dependencies[:REPORT_DEPENDENCIES],
        "drain": drain and asdict(drain),
        "answer": answer and asdict(answer),
    }
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode()


def parse_command(body: bytes, incarnation: str) -> Command | Answer | None:
    """Parse a message of the operator.

    Returns:
        The command; the refusal of a command that is not valid; or None for a message that is to be ignored.
    """
    if len(body) > COMMAND_BYTES:
        return None
    try:
        message = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not _is_text(id_ := message.get("id")):
        return None
    try:
        return _command(id_, message, incarnation)
    except _MalformedError as error:
        return Answer(id_, Result.REFUSED, str(error))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class _MalformedError(Exception):
    """A command is not valid. The text is the reason of its refusal."""


def _command(id_: str, message: Mapping[str, Any], incarnation: str) -> Command | None:
    # The version comes first: another version may change the meaning of every other field.
    if (version := _integer(message, "version")) != VERSION:
        raise _MalformedError(f"version {version} is not supported: this worker supports version {VERSION}")
    if _text(message, "incarnation") != incarnation:
        return None
    verb = _verb(message)
    drain = Drain(_text(message, "installation"), _integer(message, "epoch"), _integer(message, "seq"))
    return Command(id_, verb, drain, _lease_seconds(message) if verb is Verb.DRAIN else 0)


def _verb(message: Mapping[str, Any]) -> Verb:
    text = _text(message, "command")
    try:
        return Verb(text)
    except ValueError:
        raise _MalformedError(f"command {_quoted(text)} is not supported") from None


def _text(message: Mapping[str, Any], field: str) -> str:
    value = _present(message, field)
    if not _is_text(value):
        raise _MalformedError(
            f"{field} must be a string of 1 to {COMMAND_TEXT_CHARACTERS} characters, not {_quoted(value)}"
        )
    return value


def _is_text(value: object) -> TypeGuard[str]:
    if not isinstance(value, str) or not 0 < len(value) <= COMMAND_TEXT_CHARACTERS:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)  # a report could not repeat it


def _integer(message: Mapping[str, Any], field: str) -> int:
    value = _present(message, field)
    if type(value) is not int or not 0 <= value < COMMAND_INTEGER:  # isinstance would accept True
        raise _MalformedError(f"{field} must be an integer of at least 0 and below 2^63, not {_quoted(value)}")
    return value


def _lease_seconds(message: Mapping[str, Any]) -> float:
    value = _present(message, "lease_seconds")
    if type(value) not in {int, float} or not 0 < value <= MAX_LEASE_SECONDS:
        raise _MalformedError(
            f"lease_seconds must be a number above 0 and at most {MAX_LEASE_SECONDS}, not {_quoted(value)}"
        )
    return float(value)


def _present(message: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401 - every JSON value
    if field not in message:
        raise _MalformedError(f"{field} is missing")
    return message[field]


def _quoted(value: object) -> str:
    # Not repr: it fails on values that are nested a thousand levels deep.
    return _REPR.repr(value)[:_MAX_QUOTED_CHARACTERS]
