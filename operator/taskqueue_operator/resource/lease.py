"""The Lease of the operators: who of them acts, and since which epoch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

Guard = Callable[[], None]
"""Asked right before each write to the outside; raises Deposed where this process may not act (any more)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What the API server knows of it. Equal are those that show the same sign of life of the same holder.

    Attributes:
        holder: Who acts; empty when nobody does.
        epoch: Counts reigns, even when the same holder begins anew; at least the Unix time of its beginning.
        transitions: How often it went from one to another.
        acquired: When the holder took it, by its own clock.
        renewed: When the holder last renewed it, by its own clock.
        version: That of the object; empty when there is none yet.
    """

    holder: str = ""
    epoch: int = 0
    transitions: int = 0
    acquired: datetime | None = None
    renewed: datetime | None = None
    version: str = field(default="", compare=False)
