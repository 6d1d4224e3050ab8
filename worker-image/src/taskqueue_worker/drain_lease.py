"""Whose drain a worker obeys, and for how long. Time is an argument: any clock in seconds that never goes back."""

from dataclasses import dataclass
from typing import Final

from .protocol import Command, Drain, Name

MEMORY_SECONDS: Final = 120
"""How long the last command of an installation is remembered after it was obeyed."""

LEAVING: Final = "leaving"
SUPERSEDED: Final = "superseded"
ANOTHER_INSTALLATION: Final = "drained by another installation"


@dataclass(frozen=True)
class _Obeyed:
    order: tuple[int, int]
    at: float


class DrainLease:
    """The drain in force, if there is one, and what decides over the next command."""

    def __init__(self) -> None:
        self._drain: Drain | None = None
        self._ends = 0.0
        self._obeyed: dict[str, _Obeyed] = {}
        self._leaving = False

    def obey(self, command: Command, now: float) -> str | None:
        """Take in a command that was read at `now`. None if it is obeyed, else the reason why it is refused."""
        if refusal := self._refusal(command, now):
            return refusal
        self._obeyed[command.drain.installation] = _Obeyed((command.drain.epoch, command.drain.seq), now)
        match command.name:
            case Name.DRAIN:
                self._drain, self._ends = command.drain, now + command.lease_seconds
            case Name.UNDRAIN:
                self.end()
            case Name.REPORT:
                pass
        return None

    def holder(self, now: float) -> Drain | None:
        """The command this worker is drained by."""
        return self._drain if now < self._ends else None

    @property
    def ends(self) -> float:
        """When the last drain ends or ended by itself."""
        return self._ends

    def end(self) -> None:
        """Nobody drains this worker any more."""
        self._drain = None

    def leave(self) -> None:
        """The worker is asked to end: from now on there is nothing to drain, and no way back."""
        self._leaving = True
        self.end()

    def _refusal(self, command: Command, now: float) -> str | None:
        self._obeyed = {name: last for name, last in self._obeyed.items() if now - last.at < MEMORY_SECONDS}
        last = self._obeyed.get(command.drain.installation)
        if last is not None and (command.drain.epoch, command.drain.seq) < last.order:
            return SUPERSEDED
        holder = self.holder(now)
        if holder is not None and holder.installation != command.drain.installation:
            return ANOTHER_INSTALLATION
        return LEAVING if self._leaving and command.name is not Name.REPORT else None
