"""Who is told of what was read."""

from collections.abc import Collection
from typing import Protocol

from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology


class ObserverEvents(Protocol):
    """Who wants to know."""

    def asleep(self, key: Key) -> bool:
        """Whether a TaskQueue has no workers."""
        ...

    def read(self, keys: Collection[Key]) -> None:
        """There is something new to consider for these."""
        ...

    def missed(self, key: Key) -> None:
        """The queue of this TaskQueue is not on the broker."""
        ...

    def verify(self, keys: Collection[Key], there: Topology) -> None:
        """This is what the broker holds."""
        ...

    def heard(self, about: str, report: bytes, address: str) -> None:
        """A worker has reported, as one of that TaskQueue; commands reach it at that address."""
        ...

    def faulted(self, keys: Collection[Key]) -> None:
        """The broker cannot be used, or can be used again."""
        ...
