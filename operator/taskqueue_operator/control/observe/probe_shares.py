"""How often queues at zero are probed: so often as the budgets of their broker host and of the process allow.

A host is asked at most so many questions a second, however many readers share it. The process has a budget too. Hosts
that need less than an equal share of it get what they need; the others share what is left.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from taskqueue_operator.resource import bounds

ZERO_PROBE_PERIOD_SECONDS: Final = 0.25
"""Probe period of queues whose TaskQueues are scaled to zero; longer when there are very many of them."""


@dataclass(frozen=True, slots=True)
class _Reader:
    host: str
    queues: int
    batches: int

    @property
    def work(self) -> int:
        """What one round costs this process, in questions."""
        return self.queues + self.batches * bounds.PROBE_BATCH_WORK


class ProbeShares:
    """Shared by all readers of the process; each tells how many queues it probes before each round."""

    def __init__(self) -> None:
        self._readers: dict[object, _Reader] = {}
        self._queues = Counter[str]()
        self._work = Counter[str]()
        self._share: float | None = None

    def period(self, reader: object, host: str, *, queues: int, batches: int) -> float:
        """Record how many queues a reader probes, in how many batches, and return its period in seconds."""
        now = _Reader(host, queues, min(queues, batches))
        if self._readers.get(reader) != now:
            self.forget(reader)
            self._readers[reader] = now
            self._add(now, 1)
        if self._share is None:
            self._share = _equal_share(self._work.values(), bounds.PROBE_WORK_PER_SECOND * ZERO_PROBE_PERIOD_SECONDS)
        stretch = max(1.0, self._work[host] / self._share) if self._share else 1.0
        return max(ZERO_PROBE_PERIOD_SECONDS * stretch, self._queues[host] / bounds.ZERO_PROBES_PER_SECOND)

    def forget(self, reader: object) -> None:
        """Record that a reader has ended."""
        before = self._readers.pop(reader, None)
        if before is not None:
            self._add(before, -1)

    def _add(self, reader: _Reader, sign: int) -> None:
        self._queues[reader.host] += sign * reader.queues
        self._work[reader.host] += sign * reader.work
        if not self._work[reader.host]:
            del self._queues[reader.host], self._work[reader.host]
        self._share = None


def _equal_share(needs: Iterable[int], budget: float) -> float:
    """Return the most that each may have if none has more than it needs, and all together at most the budget."""
    ordered = sorted(needs)
    for index, need in enumerate(ordered):
        share = budget / (len(ordered) - index)
        if need > share:
            return share
        budget -= need
    return float("inf")
