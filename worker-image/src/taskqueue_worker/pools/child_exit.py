"""How a child ended, and what is said of it. Pure."""

import json
import signal
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Self

MIB: Final = 1024 * 1024


class EndReason(StrEnum):
    """Why a child is no more."""

    TIMEOUT = "timeout"
    """Killed: its task exceeded the timeout."""
    CANCELLED = "cancelled"
    """Killed: its task was cancelled."""
    MEMORY_LIMIT = "memory_limit"
    """Killed: it held more memory than it may."""
    LOST = "lost"
    """It ended by itself, for example by a segmentation fault, or the kernel killed it for lack of memory."""
    RECYCLED_TASKS = "recycled_tasks"
    """Replaced: it has run as many tasks as it may."""
    RECYCLED_MEMORY = "recycled_memory"
    """Replaced: between two tasks, it held more than half of the memory that it may hold."""
    CLOSED = "closed"
    """The worker has ended."""


class ChildLostError(Exception):
    """The child that ran the task ended. The text says how."""


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended, as the fork server saw it."""

    code: int
    """Exit code; of a signal, its number with a minus."""
    peak_bytes: int
    """The most memory that was resident, modules included."""
    held_bytes: int = 0
    """What it held when the fork server killed it because it exceeded its limit; else 0."""

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self | None:
        """Read what `encode` has written; None if the fork server ended before."""
        return cls(**json.loads(line)) if line else None

    def error(self, limit_bytes: int) -> ChildLostError:
        """Describe the end of a child that had a task, with the way out."""
        if self.held_bytes:
            return ChildLostError(
                f"The child that ran this task was killed: it held {_mib(self.held_bytes)}, and its limit is "
                f"{_mib(limit_bytes)}. Raise TASKQUEUE_CHILD_MEMORY_MIB and the memory limit of the container, or "
                "correct the handler."
            )
        peak = f"It used at most {_mib(self.peak_bytes)}."
        if self.code >= 0:
            return ChildLostError(
                f"The child that ran this task ended with exit code {self.code}. {peak} A handler must return or "
                "raise an exception, and not call os._exit()."
            )
        advice = (
            "The kernel does that for lack of memory: raise the memory limit of the container, or correct the handler."
            if self.code == -signal.SIGKILL
            else "Correct the handler, or the library that it calls."
        )
        return ChildLostError(f"Signal {_signal(-self.code)} ended the child that ran this task. {peak} {advice}")


UNSEEN: Final = ChildLostError("The fork server ended, and with it the child that ran this task. Look at stderr.")


def _signal(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return str(number)


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
