"""What is believed about a queue: an interval, made of the probes and sweeps of the last seconds.

Either source can be wrong without saying so: a passive declare answers 0 for a quorum queue without a leader, and a
listing may leave a queue out or lag by five seconds. So scaling out uses what is certainly there (`at_least`), scaling
in what may be there at most (`at_most`), and without an `at_most` nothing is ever lowered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final, Self

from taskqueue_operator.resource.faults import BrokerFault

READING_WINDOW: Final = timedelta(seconds=12)
"""Longer than two statistics intervals of a quorum queue, and than an election in which probes say 0 (10 s seen)."""
FRESH: Final = timedelta(seconds=4)
"""A probe older than this says nothing any more."""
LATE: Final = timedelta(seconds=9)
"""Longer than from one sweep to the next (every 5 s) when each takes 2 s. After a longer silence the horizon must be
seen anew: what happened meanwhile is unknown."""


class Doubt(StrEnum):
    """Why there is no `at_most`; of several the first is said."""

    NO_SWEEP = "NoSweep"
    ABSENT = "Absent"
    MINORITY = "Minority"
    NOT_RUNNING = "NotRunning"
    NO_FIGURES = "NoFigures"
    YOUNG = "Young"
    NO_PROBE = "NoProbe"


LEADERLESS: Final = frozenset({Doubt.ABSENT, Doubt.NOT_RUNNING, Doubt.MINORITY})
"""Doubts with which a probe that says 0 says nothing: so does every queue without a leader."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One passive declare.

    Attributes:
        at: When it was asked.
        ready: Messages; None when the queue is `missing`, or may not be asked for: then `fault` says so.
    """

    at: datetime
    ready: int | None
    missing: bool = False
    fault: BrokerFault | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one listing of the vhost said of a queue; figures are None when the answer had no such field.

    Attributes:
        at: When it was asked for.
        present: False when the listing left the queue out.
        running: Whether the queue's state was `running`.
        minority: Whether it was `minority`: the node that was asked is cut off from most members of the queue, and
            its figures are those of before.
    """

    at: datetime
    present: bool
    running: bool = False
    minority: bool = False
    ready: int | None = None
    unacked: int | None = None

    @property
    def doubt(self) -> Doubt | None:
        """Why its figures say nothing."""
        if not self.present:
            return Doubt.ABSENT
        if self.minority:
            return Doubt.MINORITY
        if not self.running:
            return Doubt.NOT_RUNNING
        return Doubt.NO_FIGURES if self.ready is None or self.unacked is None else None

    def beside(self, other: Self) -> Self:
        """Believe the worse of both: a listing has a queue twice when two nodes claim to lead it."""
        return replace(
            self,
            running=self.running and other.running,
            minority=self.minority or other.minority,
            ready=None if self.ready is None or other.ready is None else max(self.ready, other.ready),
            unacked=None if self.unacked is None or other.unacked is None else max(self.unacked, other.unacked),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The interval in which the number of ready messages lies.

    Attributes:
        at: When this was concluded.
        at_least: Ready messages that are certainly there; None when no fresh probe says.
        at_most: Ready messages that may be there; None when that is unknown.
        unacked: The most that was delivered and not settled; None when unknown.
        doubt: Why `at_most` is None.
    """

    at: datetime
    at_least: int | None
    at_most: int | None
    unacked: int | None
    doubt: Doubt | None = None

    @property
    def blind(self) -> bool:
        """Whether nothing that can be believed says how many messages there are."""
        return self.at_least is None or (self.at_least == 0 and self.doubt in LEADERLESS)


def interval(probes: Sequence[Probe], sweeps: Sequence[Sweep], now: datetime) -> Reading:
    """Conclude from the recent probes and sweeps (oldest first) what may be believed now.

    Earlier probes count for `at_most`: a leader may go between messages that only a probe saw and the next sweep.
    """
    fresh = bool(probes) and now - probes[-1].at <= FRESH
    at_least = probes[-1].ready if fresh else None
    recent = [sweep for sweep in sweeps if now - sweep.at <= READING_WINDOW]
    before = [sweep for sweep in sweeps if now - sweep.at > READING_WINDOW][-1:]
    doubt = _doubt(recent, [*(sweep.at for sweep in (*before, *recent)), now]) or (
        Doubt.NO_PROBE if at_least is None else None
    )
    unacked = max((sweep.unacked for sweep in recent if sweep.unacked is not None), default=None)
    if doubt is not None or at_least is None:
        return Reading(now, at_least, None, unacked, doubt)
    probed = (probe.ready or 0 for probe in probes if now - probe.at <= READING_WINDOW)
    at_most = max(*probed, *(sweep.ready or 0 for sweep in recent))
    return Reading(now, at_least, at_most, unacked)


def _doubt(recent: Sequence[Sweep], times: Sequence[datetime]) -> Doubt | None:
    """Find what is wrong with the recent sweeps; `times` are theirs, that of the one before them, and now."""
    if not recent or any(later - earlier > LATE for earlier, later in pairwise(times)):
        return Doubt.NO_SWEEP
    doubts = [sweep.doubt for sweep in recent if sweep.doubt is not None]
    if doubts:
        return min(doubts, key=list(Doubt).index)
    return Doubt.YOUNG if times[-1] - times[0] < READING_WINDOW else None
