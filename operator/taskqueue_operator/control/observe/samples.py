"""The recent samples of one queue, and no more of them than a reading needs."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import READING_WINDOW, Probe, Sweep


class Samples:
    """Probes and sweeps of one queue, oldest first. Several TaskQueues may read the same external queue.

    A probe is dropped once a later one is as high: a reading needs the highest probes and the last one. While the depth
    does not change, one probe is stored, however often the queue is probed.

    Attributes:
        keys: The TaskQueues that read the queue.
        probes: The probes within the window.
        sweeps: The sweeps within the window, and one older sweep.
        delayed: Number of delayed retries at the last sweep, at most; None if it is unknown.
        last_read: The last probe that returned a depth.
        refresh_index: The refresh for which the TaskQueues were last notified.
    """

    __slots__ = ("_read_before", "_since", "delayed", "keys", "last_read", "probes", "refresh_index", "sweeps")

    def __init__(self, keys: Iterable[Key], since: datetime) -> None:
        self.keys = set(keys)
        self.probes: list[Probe] = []
        self.sweeps: list[Sweep] = []
        self.delayed: int | None = None
        self.last_read: Probe | None = None
        self.refresh_index = -1
        self._since = since
        self._read_before: Probe | None = None

    @property
    def probe(self) -> Probe | None:
        """The last probe."""
        return self.probes[-1] if self.probes else None

    @property
    def read_at(self) -> datetime | None:
        """When the last probe that returned a depth was sent."""
        return self.last_read.at if self.last_read is not None else None

    @property
    def last_messages(self) -> int | None:
        """How many messages the queue had in any state when it was last read; figures of a sweep may lag behind.

        A probe that meets the deletion of a quorum queue returns 0, so one 0 alone is not believed.
        """
        sweep = next((sweep for sweep in reversed(self.sweeps) if sweep.doubt is None), None)
        read = self.last_read
        if read is not None and read.ready == 0:
            read = self._read_before or read
        if read is None or read.ready is None:
            return None
        return read.ready + (((sweep.unacked or 0) + (sweep.deferred or 0)) if sweep is not None else 0)

    def add_probe(self, probe: Probe) -> bool:
        """Store a probe; returns False for one that was sent before the last one or before these samples began."""
        if probe.at < (self.probes[-1].at if self.probes else self._since):
            return False
        if probe.ready is not None:
            self._read_before, self.last_read = self.last_read, probe
        while self.probes and (self.probes[-1].ready or 0) <= (probe.ready or 0):
            self.probes.pop()
        self.probes.append(probe)
        while probe.at - self.probes[0].at > READING_WINDOW:
            self.probes.pop(0)
        return True

    def add_sweep(self, sweep: Sweep) -> None:
        """Store a sweep. The newest one before the window stays: it shows that the queue existed then."""
        if sweep.at < self._since:
            return
        self.sweeps.append(sweep)
        while len(self.sweeps) > 1 and sweep.at - self.sweeps[1].at > READING_WINDOW:
            self.sweeps.pop(0)


def queue_state(probes: Sequence[Probe], sweeps: Sequence[Sweep], now: datetime) -> QueueState:
    """Return what a drain plan needs to know of a queue, from its samples (oldest first)."""
    last = sweeps[-1] if sweeps else None
    if last is None or last.doubt is not None or now - last.at > READING_WINDOW:
        return QueueState(running=False)
    probe = probes[-1] if probes else None
    empty_at = min(probe.at, last.at) if probe is not None and probe.ready == 0 and last.is_empty else None
    return QueueState(running=True, empty_at=empty_at)
