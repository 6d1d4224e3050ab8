"""How often queues at zero are probed: so often as the budgets of their broker host and of the process allow.

A host is asked at most so many questions a second, however many readers share it. The process has a budget too.
Namespaces that need less than an equal share of a budget get what they need; the others share what is left.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from taskqueue_operator.resource import bounds

from .namespace_budget import NamespaceBudget
from .rounds import batch_count

ZERO_PROBE_PERIOD_SECONDS: Final = 0.25
"""Probe period of queues whose TaskQueues are scaled to zero; longer when there are very many of them."""


@dataclass(frozen=True, slots=True)
class _Reader:
    host: str
    namespace: str
    queues: int

    @property
    def work(self) -> int:
        """What one round costs this process, in questions."""
        return self.queues + batch_count(self.queues, ZERO_PROBE_PERIOD_SECONDS) * bounds.PROBE_BATCH_WORK


class ProbeShares:
    """Shared by all readers of the process; each tells how many queues it probes before each round."""

    def __init__(self) -> None:
        self._readers: dict[object, _Reader] = {}
        self._work = _budget(bounds.PROBE_WORK_PER_SECOND)
        self._hosts: defaultdict[str, NamespaceBudget] = defaultdict(lambda: _budget(bounds.ZERO_PROBES_PER_SECOND))
        self._readers_of_hosts = Counter[str]()

    def period(self, reader: object, host: str, namespace: str, *, queues: int) -> float:
        """Record how many queues a reader probes, and return its period in seconds."""
        now = _Reader(host, namespace, queues)
        if self._readers.get(reader) != now:
            self.forget(reader)
            self._readers[reader] = now
            self._add(now, 1)
        stretch = max(self._work.stretch(namespace), self._hosts[host].stretch(namespace))
        return ZERO_PROBE_PERIOD_SECONDS * stretch

    def forget(self, reader: object) -> None:
        """Record that a reader has ended."""
        before = self._readers.pop(reader, None)
        if before is not None:
            self._add(before, -1)

    def _add(self, reader: _Reader, sign: int) -> None:
        self._work.add(reader.namespace, sign * reader.work)
        self._hosts[reader.host].add(reader.namespace, sign * reader.queues)
        self._readers_of_hosts[reader.host] += sign
        if not self._readers_of_hosts[reader.host]:
            del self._readers_of_hosts[reader.host], self._hosts[reader.host]


def _budget(questions_per_second: float) -> NamespaceBudget:
    return NamespaceBudget(questions_per_second * ZERO_PROBE_PERIOD_SECONDS)
