"""The Lease by which operator processes elect a leader."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

Guard = Callable[[], None]
"""Called immediately before each external write; raises LeadershipLost if this process is not the leader."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The Lease object. Two values are equal if they show the same renewal by the same holder.

    Attributes:
        holder: Identity of the leader; empty if there is none.
        epoch: Number of the leadership term; increases at each acquisition, and is at least its Unix time in seconds.
        transitions: How often the holder has changed.
        acquired: When the holder acquired the Lease, by the holder's clock.
        renewed: When the holder last renewed the Lease, by the holder's clock.
        version: resourceVersion of the object; empty if it does not exist.
    """

    holder: str = ""
    epoch: int = 0
    transitions: int = 0
    acquired: datetime | None = None
    renewed: datetime | None = None
    version: str = field(default="", compare=False)
