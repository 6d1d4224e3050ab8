"""Decisions with all that went into them, as JSON: what is shown to people, and replayed by tests."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter

from .decide import decide
from .decision import Decision, Workers
from .memory import Memory
from .policy import Policy
from .reading import Reading


@dataclass(frozen=True, slots=True)
class Recording:
    """The inputs of one decision and what came of them; `decision.memory` is the next one's `memory`."""

    at: datetime
    reading: Reading
    workers: Workers
    policy: Policy
    memory: Memory
    decision: Decision

    def replay(self) -> Decision:
        """Decide again."""
        return decide(self.reading, self.workers, self.policy, self.memory, self.at)


@cache
def _adapter() -> TypeAdapter[tuple[Recording, ...]]:
    return TypeAdapter(tuple[Recording, ...])


def write(recordings: Iterable[Recording]) -> bytes:
    """Write recordings as a JSON array, in their order."""
    return _adapter().dump_json(tuple(recordings), indent=2)


def read(document: bytes) -> tuple[Recording, ...]:
    """Read what `write` wrote.

    Raises:
        ValueError: It is something else.
    """
    return _adapter().validate_json(document)
