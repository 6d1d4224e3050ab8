"""What was read of one queue lately, and no more of it than a reading is made of."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import READING_WINDOW, Probe, Sweep


class Samples:
    """Probes and sweeps of one queue, oldest first; several TaskQueues may scale on an external one.

    Of the probes only those are kept after which none was as high, and so the last one: while nothing changes that is
    one, however often the queue is probed.
    """

    __slots__ = ("_since", "keys", "probes", "read_at", "sweeps", "turn")

    def __init__(self, keys: Iterable[Key], since: datetime) -> None:
        self.keys = set(keys)
        self.probes: list[Probe] = []
        self.sweeps: list[Sweep] = []
        self.read_at: datetime | None = None
        self.turn = -1
        self._since = since

    @property
    def probe(self) -> Probe | None:
        """The last one."""
        return self.probes[-1] if self.probes else None

    def probed(self, probe: Probe) -> bool:
        """Keep a probe, unless it was asked before the last one or before this began; says whether it was kept."""
        if probe.at < (self.probes[-1].at if self.probes else self._since):
            return False
        if probe.ready is not None:
            self.read_at = probe.at
        while self.probes and (self.probes[-1].ready or 0) <= (probe.ready or 0):
            self.probes.pop()
        self.probes.append(probe)
        while probe.at - self.probes[0].at > READING_WINDOW:
            self.probes.pop(0)
        return True

    def swept(self, sweep: Sweep) -> None:
        """Keep what is within the horizon, and one sample beyond it: it tells that the queue is not young."""
        if sweep.at < self._since:
            return
        self.sweeps.append(sweep)
        while len(self.sweeps) > 1 and sweep.at - self.sweeps[1].at > READING_WINDOW:
            self.sweeps.pop(0)


def state(probes: Sequence[Probe], sweeps: Sequence[Sweep], now: datetime) -> QueueState:
    """Say what removing workers needs to know of a queue, from its samples (oldest first)."""
    last = sweeps[-1] if sweeps else None
    if last is None or last.doubt is not None or now - last.at > READING_WINDOW:
        return QueueState(running=False)
    probe = probes[-1] if probes else None
    empty = probe is not None and probe.ready == last.ready == last.unacked == 0
    return QueueState(running=True, empty_at=min(probe.at, last.at) if probe is not None and empty else None)
