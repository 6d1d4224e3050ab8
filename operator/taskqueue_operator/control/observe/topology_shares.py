"""How often the topology of a vhost is read: seldom if the vhost is large, or if there are very many readers."""

from typing import Final, NamedTuple

from taskqueue_operator.resource import bounds

from .namespace_budget import NamespaceBudget

TOPOLOGY_PERIOD_SECONDS: Final = 6.0
"""Between two reads of a vhost with 1,000 TaskQueues: what has drifted is to be repaired within 10 s."""
LONGEST_TOPOLOGY_PERIOD_SECONDS: Final = 30.0


class _Reader(NamedTuple):
    namespace: str
    work: int


class TopologyShares:
    """Shared by all readers of the process; each tells how many objects its vhost has before each round."""

    def __init__(self) -> None:
        self._readers: dict[object, _Reader] = {}
        self._work = NamespaceBudget(bounds.TOPOLOGY_OBJECTS_PER_SECOND * TOPOLOGY_PERIOD_SECONDS)

    def period(self, reader: object, namespace: str, *, objects: int) -> float:
        """Record how many objects a reader reads, and return its period in seconds."""
        now = _Reader(namespace, bounds.TOPOLOGY_READ_OBJECTS + objects)
        if self._readers.get(reader) != now:
            self.forget(reader)
            self._readers[reader] = now
            self._work.add(namespace, now.work)
        shared = TOPOLOGY_PERIOD_SECONDS * self._work.stretch(namespace)
        return min(LONGEST_TOPOLOGY_PERIOD_SECONDS, max(shared, objects / bounds.VHOST_OBJECTS_PER_SECOND))

    def forget(self, reader: object) -> None:
        """Record that a reader has ended."""
        before = self._readers.pop(reader, None)
        if before is not None:
            self._work.add(before.namespace, -before.work)
