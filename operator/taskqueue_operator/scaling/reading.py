"""The depth of a queue as an interval, derived from the probes and sweeps of the last seconds.

Both sources can be wrong without an error: a passive declare answers 0 for a quorum queue without a leader, and a sweep
may omit a queue or lag by five seconds. Therefore scale-out uses the lower bound (`at_least`) and scale-in the upper
bound (`at_most`); if the upper bound is unknown, replicas are never reduced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final, Self

from taskqueue_operator.resource.faults import BrokerFault

READING_WINDOW: Final = timedelta(seconds=12)
"""Longer than two statistics intervals of a quorum queue, and than an election during which probes answer 0 (10 s
measured)."""
PROBE_MAX_AGE: Final = timedelta(seconds=4)
"""An older probe is not used as lower bound."""
SWEEP_GAP_LIMIT: Final = timedelta(seconds=9)
"""Longer than the gap between two sweeps (period 5 s) that take 2 s each. After a longer gap, sweeps must cover a whole
READING_WINDOW again: what happened during the gap is unknown."""


class Doubt(StrEnum):
    """Why `at_most` is unknown; if several apply, the first is reported."""

    NO_SWEEP = "NoSweep"
    ABSENT = "Absent"
    MINORITY = "Minority"
    NOT_RUNNING = "NotRunning"
    NO_FIGURES = "NoFigures"
    HISTORY_TOO_SHORT = "HistoryTooShort"
    NO_PROBE = "NoProbe"


LEADERLESS: Final = frozenset({Doubt.ABSENT, Doubt.NOT_RUNNING, Doubt.MINORITY})
"""Doubts with which a probe of 0 is meaningless: every queue without a leader answers 0."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of one passive declare.

    Attributes:
        at: When the request was sent.
        ready: Number of ready messages; None if the queue is `missing` or the broker refused the request.
        missing: Whether the queue does not exist.
        fault: Why the broker refused the request.
        consumers: Number of consumers of the queue; None if it is unknown.
    """

    at: datetime
    ready: int | None
    missing: bool = False
    fault: BrokerFault | None = None
    consumers: int | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """One queue in a listing of its vhost; a figure is None if the response had no such field.

    Attributes:
        at: When the request was sent.
        present: Whether the listing contained the queue.
        running: Whether the state of the queue was `running`.
        minority: Whether the state was `minority`: the node that answered is cut off from the majority of the queue's
            members, so its figures are outdated.
        ready: Number of ready messages.
        unacked: Number of messages that are delivered and not yet acknowledged.
        deferred: Number of messages that are neither: delayed until a retry, or pending dead-lettering.
    """

    at: datetime
    present: bool
    running: bool = False
    minority: bool = False
    ready: int | None = None
    unacked: int | None = None
    deferred: int | None = 0

    @property
    def doubt(self) -> Doubt | None:
        """Why the figures cannot be used; None if they can."""
        if not self.present:
            return Doubt.ABSENT
        if self.minority:
            return Doubt.MINORITY
        if not self.running:
            return Doubt.NOT_RUNNING
        return Doubt.NO_FIGURES if None in {self.ready, self.unacked, self.deferred} else None

    @property
    def is_empty(self) -> bool:
        """Whether it shows no message in any state."""
        return self.ready == self.unacked == self.deferred == 0

    def merge_worst(self, other: Self) -> Self:
        """Return the worse of two entries: a listing contains a queue twice if two nodes claim to lead it."""
        return replace(
            self,
            running=self.running and other.running,
            minority=self.minority or other.minority,
            ready=_highest(self.ready, other.ready),
            unacked=_highest(self.unacked, other.unacked),
            deferred=_highest(self.deferred, other.deferred),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The interval that contains the number of ready messages.

    Attributes:
        at: Time of the reading.
        at_least: Lower bound of the ready messages; None without a recent probe.
        at_most: Upper bound of the ready messages; None if unknown.
        unacked: Largest number of unacked messages in recent sweeps; None if unknown.
        doubt: Why `at_most` is None.
        held_at_least: Unacked messages by the last sweep before the probe of `at_least`; None without one. A later
            sweep would count messages twice that were delivered after the probe.
        deferred: Largest number of deferred messages in recent sweeps.
    """

    at: datetime
    at_least: int | None
    at_most: int | None
    unacked: int | None
    doubt: Doubt | None = None
    held_at_least: int | None = None
    deferred: int = 0

    @classmethod
    def from_samples(cls, probes: Sequence[Probe], sweeps: Sequence[Sweep], now: datetime) -> Self:
        """Derive a reading from the recent probes and sweeps, both oldest first.

        Earlier probes count for `at_most` too: the leader may fail after messages that only a probe has counted and
        before the next sweep.
        """
        recent_probe = bool(probes) and now - probes[-1].at <= PROBE_MAX_AGE
        at_least = probes[-1].ready if recent_probe else None
        recent = [sweep for sweep in sweeps if now - sweep.at <= READING_WINDOW]
        last_before = [sweep for sweep in sweeps if now - sweep.at > READING_WINDOW][-1:]
        doubt = _doubt(recent, [*(sweep.at for sweep in (*last_before, *recent)), now])
        if doubt is None and at_least is None:
            doubt = Doubt.NO_PROBE
        unacked = max((sweep.unacked for sweep in recent if sweep.unacked is not None), default=None)
        held = next((sweep.unacked for sweep in reversed(recent) if recent_probe and sweep.at <= probes[-1].at), None)
        deferred = max((sweep.deferred or 0 for sweep in recent), default=0)
        reading = cls(now, at_least, None, unacked, doubt, held, deferred)
        if doubt is not None or at_least is None:
            return reading
        probed = (probe.ready or 0 for probe in probes if now - probe.at <= READING_WINDOW)
        at_most = max(*probed, *(sweep.ready or 0 for sweep in recent))
        return replace(reading, at_most=at_most)

    def __add__(self, other: Self) -> Self:
        """Return the reading of two queues that the same workers consume.

        The lower bound of one queue is one of both. Every other figure is unknown if it is unknown of one.
        """
        doubts = [doubt for doubt in (self.doubt, other.doubt) if doubt is not None]
        return replace(
            self,
            at=min(self.at, other.at),
            at_least=_total_known(self.at_least, other.at_least),
            at_most=_total(self.at_most, other.at_most),
            unacked=_total(self.unacked, other.unacked),
            doubt=min(doubts, key=list(Doubt).index, default=None),
            held_at_least=_total_known(self.held_at_least, other.held_at_least),
            deferred=self.deferred + other.deferred,
        )

    @property
    def is_empty(self) -> bool:
        """Whether the queue certainly holds no message in any state."""
        return self.at_most == 0 and self.unacked == 0 and not self.deferred

    @property
    def unreadable(self) -> bool:
        """Whether no reliable source knows how many messages are ready."""
        return self.at_least is None or (self.at_least == 0 and self.doubt in LEADERLESS)


def _total(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _total_known(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def _highest(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _doubt(recent: Sequence[Sweep], times: Sequence[datetime]) -> Doubt | None:
    """Return why the recent sweeps give no upper bound.

    Args:
        recent: The sweeps within the window.
        times: Times of the last sweep before the window, of the recent sweeps, and the present time.
    """
    if not recent or any(later - earlier > SWEEP_GAP_LIMIT for earlier, later in pairwise(times)):
        return Doubt.NO_SWEEP
    doubts = [sweep.doubt for sweep in recent if sweep.doubt is not None]
    if doubts:
        return min(doubts, key=list(Doubt).index)
    return Doubt.HISTORY_TOO_SHORT if times[-1] - times[0] < READING_WINDOW else None
