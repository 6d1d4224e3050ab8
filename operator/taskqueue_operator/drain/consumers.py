"""What the broker shows of workers that keep no protocol: who is connected, what they consume, what they hold."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from taskqueue_operator.workers.api_objects import Pod

APART: Final = timedelta(seconds=6)
"""Two looks that are as far from each other show different samples: the broker's figures are up to 5 s old."""
FRESH: Final = timedelta(seconds=3)
"""How long a look shows who is idle: long enough to act on it."""


class Activity(Enum):
    """What a look shows of one pod."""

    UNKNOWN = auto()
    BUSY = auto()
    IDLE = auto()


@dataclass(frozen=True, slots=True)
class Connection:
    """One AMQP connection.

    Attributes:
        marks: By what it is known whose it is: the peer's address, and the words of the name that its client gave it.
        acknowledges: By each queue that it consumes, whether it acknowledges everything that it gets from there.
        unacked: Messages that it holds, of whichever queue; None when the broker has no figure yet.
    """

    marks: frozenset[str]
    acknowledges: Mapping[str, bool]
    unacked: int | None


@dataclass(frozen=True)
class ConsumerSnapshot:
    """All connections to a vhost, as the broker showed them when it was asked."""

    at: datetime
    connections: tuple[Connection, ...]

    @cached_property
    def _places(self) -> Mapping[str, frozenset[int]]:
        places: defaultdict[str, set[int]] = defaultdict(set)
        for place, connection in enumerate(self.connections):
            for mark in connection.marks:
                places[mark].add(place)
        return {mark: frozenset(each) for mark, each in places.items()}

    def sights(self, queue: str, pods: Collection[Pod]) -> dict[str, Activity]:
        """Say of each pod of a crew, by its UID, whether it is seen to consume this queue, and to hold nothing."""
        theirs = {pod.uid: frozenset[int]().union(*map(self._at, _marks(pod))) for pod in pods}
        claims = Counter(place for places in theirs.values() for place in places)
        return {uid: self._sight(queue, places, claims) for uid, places in theirs.items()}

    def _at(self, mark: str) -> frozenset[int]:
        return self._places.get(mark, frozenset())

    def _sight(self, queue: str, places: Iterable[int], claims: Mapping[int, int]) -> Activity:
        """A connection that may be another pod's as well shows that neither is idle, and of none that it is there."""
        consuming = [
            self.connections[place].acknowledges[queue]
            for place in places
            if claims[place] == 1 and queue in self.connections[place].acknowledges
        ]
        if not consuming or not all(consuming):
            return Activity.UNKNOWN
        held = [self.connections[place].unacked for place in places]
        if any(held):
            return Activity.BUSY
        return Activity.UNKNOWN if None in held else Activity.IDLE


class IdleEvidence(NamedTuple):
    """What two looks together show of a crew.

    Attributes:
        idle_since: Who held nothing at either of them, by the UID of the pod, and when the first was taken.
        unknown: UIDs of those that neither could tell.
    """

    idle_since: Mapping[str, datetime] = {}
    unknown: frozenset[str] = frozenset()


def evidence(looks: Sequence[ConsumerSnapshot], queue: str, pods: Collection[Pod], now: datetime) -> IdleEvidence:
    """Conclude from the last looks, oldest first: nothing from one, or from two that are too close.

    An idle one may get a message at any time after: what this says is who to begin with, not that nothing can be cut.
    """
    if not looks or looks[-1].at - looks[0].at < APART:
        return IdleEvidence()
    first, last = (look.sights(queue, pods) for look in (looks[0], looks[-1]))
    same = {uid: sight for uid, sight in last.items() if first[uid] is sight}
    idle = {uid: looks[0].at for uid, sight in same.items() if sight is Activity.IDLE and now - looks[-1].at <= FRESH}
    return IdleEvidence(idle, frozenset(uid for uid, sight in same.items() if sight is Activity.UNKNOWN))


def address(text: str) -> str:
    """Write an IP address as all others are written here; what is none stays as it is."""
    try:
        found = ip_address(text)
    except ValueError:
        return text
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def _marks(pod: Pod) -> set[str]:
    return {pod.key.name, *map(address, pod.addresses)}
