"""What the broker shows of Plain workers: their connections, the queues they consume, the messages they hold."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from taskqueue_operator.workers.api_objects import Pod

MIN_SNAPSHOT_GAP: Final = timedelta(seconds=6)
"""Two snapshots at least this far apart show different samples: the broker's figures are up to 5 s old."""
SNAPSHOT_MAX_AGE: Final = timedelta(seconds=3)
"""How long a snapshot proves idleness: long enough to act on it."""


class Activity(Enum):
    """What a snapshot shows of one pod."""

    UNKNOWN = auto()
    BUSY = auto()
    IDLE = auto()


@dataclass(frozen=True, slots=True)
class Connection:
    """One AMQP connection.

    Attributes:
        identifiers: What may identify its pod: the address of the peer, and the words of the connection name.
        acknowledges: For each queue that it consumes, whether it acknowledges all deliveries from there.
        unacked: Messages that it holds, of all queues; None while the broker has no figure.
        name: The broker's name of the connection, by which it can be closed.
    """

    identifiers: frozenset[str]
    acknowledges: Mapping[str, bool]
    unacked: int | None
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class ConsumerSnapshot:
    """All connections to a vhost, as the broker showed them at the time of the request."""

    at: datetime
    connections: tuple[Connection, ...]

    @cached_property
    def _by_identifier(self) -> Mapping[str, frozenset[int]]:
        found: defaultdict[str, set[int]] = defaultdict(set)
        for index, connection in enumerate(self.connections):
            for identifier in connection.identifiers:
                found[identifier].add(index)
        return {identifier: frozenset(indexes) for identifier, indexes in found.items()}

    def activities(self, queues: tuple[str, ...], pods: Collection[Pod]) -> dict[str, Activity]:
        """Return the activity of each pod, by its UID. An idle pod consumes these queues and holds no message.

        Args:
            queues: The queues of these workers.
            pods: All active pods of the TaskQueue.
        """
        indexes, owners = self._assign(pods)
        return {uid: self._activity(queues, found, owners) for uid, found in indexes.items()}

    def own_connections(self, pods: Collection[Pod]) -> dict[str, tuple[Connection, ...]]:
        """Return the connections of each pod, by its UID, without those that may be of several of the pods."""
        indexes, owners = self._assign(pods)
        return {
            uid: tuple(self.connections[index] for index in sorted(found) if owners[index] == 1)
            for uid, found in indexes.items()
        }

    def _assign(self, pods: Collection[Pod]) -> tuple[dict[str, frozenset[int]], Counter[int]]:
        """Return the connections that may be of each pod, and of how many pods each connection may be."""
        indexes = {pod.uid: frozenset[int]().union(*map(self._find, _identifiers(pod))) for pod in pods}
        return indexes, Counter(index for found in indexes.values() for index in found)

    def _find(self, identifier: str) -> frozenset[int]:
        return self._by_identifier.get(identifier, frozenset())

    def _activity(self, queues: tuple[str, ...], indexes: Collection[int], owners: Mapping[int, int]) -> Activity:
        if not all(self._proves_consumption(queue, indexes, owners) for queue in queues):
            return Activity.UNKNOWN
        held = [self.connections[index].unacked for index in indexes]
        if any(held):
            return Activity.BUSY
        return Activity.UNKNOWN if None in held else Activity.IDLE

    def _proves_consumption(self, queue: str, indexes: Iterable[int], owners: Mapping[int, int]) -> bool:
        """A connection of several possible pods counts against the idleness of each, and proves consumption of none."""
        consuming = [index for index in indexes if queue in self.connections[index].acknowledges]
        is_certain = any(owners[index] == 1 for index in consuming)
        return is_certain and all(self.connections[index].acknowledges[queue] for index in consuming)


class IdleEvidence(NamedTuple):
    """What two snapshots together show of the workers of a TaskQueue.

    Attributes:
        idle_since: By the UID of the pod, the time of the first snapshot, for workers that are idle in both.
        unknown: UIDs of the pods whose activity is unknown in both.
    """

    idle_since: Mapping[str, datetime] = {}
    unknown: frozenset[str] = frozenset()


def idle_evidence(
    snapshots: Sequence[ConsumerSnapshot], queues: tuple[str, ...], pods: Collection[Pod], now: datetime
) -> IdleEvidence:
    """Compare the first and the last snapshot. One snapshot, or two that are too close, are no evidence.

    An idle worker may receive a message at any time. The evidence therefore selects candidates; it does not guarantee
    that no task is running.

    Args:
        snapshots: The recent snapshots, oldest first.
        queues: The queues of these workers.
        pods: All active pods of the TaskQueue.
        now: The present time.
    """
    if not snapshots or snapshots[-1].at - snapshots[0].at < MIN_SNAPSHOT_GAP:
        return IdleEvidence()
    first, last = (snapshot.activities(queues, pods) for snapshot in (snapshots[0], snapshots[-1]))
    same = {uid: activity for uid, activity in last.items() if first[uid] is activity}
    fresh = now - snapshots[-1].at <= SNAPSHOT_MAX_AGE
    idle = {uid: snapshots[0].at for uid, activity in same.items() if activity is Activity.IDLE and fresh}
    return IdleEvidence(idle, frozenset(uid for uid, activity in same.items() if activity is Activity.UNKNOWN))


def consuming_after_sigterm(
    snapshot: ConsumerSnapshot,
    queues: tuple[str, ...],
    pods: Collection[Pod],
    terminating_since: Mapping[str, datetime],
) -> dict[str, Activity]:
    """Return what the workers do that still consume although SIGTERM is long past, by the UID of the pod.

    Args:
        snapshot: The last snapshot.
        queues: The queues of these workers.
        pods: All pods of the TaskQueue, also those that terminate.
        terminating_since: By the UID of the pod, when it was first seen to terminate.
    """
    late = {uid for uid, since in terminating_since.items() if snapshot.at - since >= MIN_SNAPSHOT_GAP}
    own = snapshot.own_connections(pods)
    consuming = {uid for uid in late if any(found.acknowledges.keys() & queues for found in own.get(uid, ()))}
    return {uid: activity for uid, activity in snapshot.activities(queues, pods).items() if uid in consuming}


def other_queues(snapshot: ConsumerSnapshot, queues: tuple[str, ...], pods: Collection[Pod]) -> tuple[str, ...]:
    """Return further queues from which the workers of these queues take tasks.

    Consumers without acknowledgements are of remote control and events, and `<queue>.DQ` holds the delayed messages of
    dramatiq for the same queue.
    """
    connections = (found for own in snapshot.own_connections(pods).values() for found in own)
    taken = {name for found in connections for name, acknowledges in found.acknowledges.items() if acknowledges}
    return tuple(sorted(taken.difference(queues, (f"{queue}.DQ" for queue in queues))))


def normalize_address(text: str) -> str:
    """Return an IP address in its canonical form; any other text unchanged."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _identifiers(pod: Pod) -> set[str]:
    return {pod.key.name, *map(normalize_address, pod.addresses)}
