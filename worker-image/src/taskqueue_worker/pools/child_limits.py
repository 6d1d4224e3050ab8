"""When a child is replaced."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """The limits of a child. 0 is none."""

    tasks: int = 0
    memory_bytes: int = 0
    """What a child may hold beyond the imported modules."""
