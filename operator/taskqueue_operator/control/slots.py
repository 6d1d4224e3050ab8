"""The slots of a work queue, with shares: a tenant or a broker that answers late delays its own TaskQueues only."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from taskqueue_operator.resource.names import Key

NAMESPACE_SHARE: Final = 0.25
BROKER_SHARE: Final = 0.5
"""More than that of a namespace: one tenant of a shared broker must not hold all slots of the broker."""


class Group(NamedTuple):
    """TaskQueues that share slots: those of one namespace, or those on one broker."""

    kind: str
    name: str
    share: float

    @classmethod
    def namespace(cls, name: str) -> "Group":
        """Return the group of a namespace."""
        return cls("namespace", name, NAMESPACE_SHARE)

    @classmethod
    def broker(cls, address: str) -> "Group":
        """Return the group of a broker."""
        return cls("broker", address, BROKER_SHARE)


class Entry(NamedTuple):
    """A key, and when it is due."""

    due: float
    key: Key


class Slots:
    """Grants slots to keys; one group of keys may use a share of them.

    A key takes one slot in each of its groups. If a group has none left, the key waits in the line of that group.

    Attributes:
        total: How many keys may be worked on at the same time.
    """

    def __init__(self, total: int, groups_of: Callable[[Key], Iterable[Group]] = lambda _: ()) -> None:
        self.total = total
        self._groups_of = groups_of
        self._in_use = Counter[Group]()
        self._held: dict[Key, tuple[Group, ...]] = {}
        self._lines: dict[Group, list[Entry]] = {}

    def share(self, share: float) -> int:
        """Return how many slots a share of them is."""
        return max(1, int(self.total * share))

    def take(self, entry: Entry) -> bool:
        """Take a slot in each group of a key; if one has none left, let the entry wait and return False."""
        groups = tuple(self._groups_of(entry.key))
        full = next((group for group in groups if self._free(group) <= 0), None)
        if full is not None:
            heapq.heappush(self._lines.setdefault(full, []), entry)
            return False
        self._held[entry.key] = groups
        self._in_use.update(groups)
        return True

    def release(self, key: Key) -> bool:
        """Give the slots of a key back; return whether it had any."""
        groups = self._held.pop(key, None)
        for group in groups or ():
            self._in_use[group] -= 1
            if not self._in_use[group]:
                del self._in_use[group]
        return groups is not None

    def ready(self) -> Iterator[Entry]:
        """Remove from the lines, and return, the entries for which their group has slots."""
        for group, line in list(self._lines.items()):
            for _ in range(min(self._free(group), len(line))):
                yield heapq.heappop(line)
            if not line:
                del self._lines[group]

    def _free(self, group: Group) -> int:
        return self.share(group.share) - self._in_use.get(group, 0)
