"""Decisions with all their inputs as JSON, for the debug endpoint of the operator and for replays in tests."""

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
    """The inputs of a decision and the decision; its `decision.memory` is the `memory` of the next recording."""

    at: datetime
    reading: Reading
    workers: Workers
    policy: Policy
    memory: Memory
    decision: Decision

    def replay(self) -> Decision:
        """Return the decision for the same inputs."""
        return decide(self.reading, self.workers, self.policy, self.memory, self.at)


@cache
def _adapter() -> TypeAdapter[tuple[Recording, ...]]:
    return TypeAdapter(tuple[Recording, ...])


def to_json(recordings: Iterable[Recording]) -> bytes:
    """Return recordings as a JSON array, in their order."""
    return _adapter().dump_json(tuple(recordings), indent=2)


def from_json(document: bytes) -> tuple[Recording, ...]:
    """Return the recordings of a JSON array that `to_json` produced.

    Raises:
        ValueError: The document is not such an array.
    """
    return _adapter().validate_json(document)
