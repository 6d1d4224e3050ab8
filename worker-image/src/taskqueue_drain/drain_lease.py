"""Decides which drain is in force and until when. Time is an argument: seconds of a monotonic clock."""

from dataclasses import dataclass
from typing import Final

from .bounds import INSTALLATIONS
from .protocol import Command, Drain, FencingToken, Verb

MEMORY_SECONDS: Final = 120
"""How long the fencing token of an installation is remembered after its last accepted command."""

LEAVING: Final = "leaving"
SUPERSEDED: Final = "superseded"
TOO_MANY: Final = "too many installations"
ANOTHER_INSTALLATION: Final = "drained by another installation"


@dataclass(frozen=True, slots=True)
class _Accepted:
    token: FencingToken
    at: float


class DrainLease:
    """The drain in force, if any, and the rules that accept or refuse the next command."""

    def __init__(self) -> None:
        self._drain: Drain | None = None
        self._expires_at = 0.0
        self._accepted: dict[str, _Accepted] = {}
        self._leaving = False

    def apply(self, command: Command, now: float) -> str | None:
        """Apply a command that was read at `now`. Returns None if it is accepted, else the reason of the refusal."""
        if refusal := self._refusal(command, now):
            return refusal
        self._accepted[command.drain.installation] = _Accepted(command.drain.token, now)
        match command.verb:
            case Verb.DRAIN:
                self._drain, self._expires_at = command.drain, now + command.lease_seconds
            case Verb.UNDRAIN:
                self.end()
            case Verb.REPORT:
                pass
        return None

    def holder(self, now: float) -> Drain | None:
        """Return the drain in force; None if there is none or it has expired."""
        return self._drain if now < self._expires_at else None

    @property
    def expires_at(self) -> float | None:
        """When the drain that was not ended expires, or expired; None if there is none."""
        return self._expires_at if self._drain is not None else None

    def has_expired(self, now: float) -> bool:
        """Whether a drain has expired and was not ended yet."""
        return self._drain is not None and now >= self._expires_at

    def end(self) -> None:
        """End the drain in force."""
        self._drain = None

    def begin_shutdown(self) -> None:
        """End the drain; refuse every later drain and undrain."""
        self._leaving = True
        self.end()

    def _refusal(self, command: Command, now: float) -> str | None:
        self._accepted = {name: last for name, last in self._accepted.items() if now - last.at < MEMORY_SECONDS}
        last = self._accepted.get(command.drain.installation)
        if last is None and len(self._accepted) >= INSTALLATIONS:
            return TOO_MANY
        if last is not None and command.drain.token < last.token:
            return SUPERSEDED
        holder = self.holder(now)
        if holder is not None and holder.installation != command.drain.installation:
            return ANOTHER_INSTALLATION
        return LEAVING if self._leaving and command.verb is not Verb.REPORT else None
