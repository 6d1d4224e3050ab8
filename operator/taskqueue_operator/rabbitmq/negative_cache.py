"""Remembers which queues are missing or unreadable, and when to probe each of them again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.scaling.reading import Probe

BACKOFF: Final = Backoff(first_seconds=1.0, longest_seconds=10.0)


@dataclass(frozen=True, slots=True)
class _Refusal:
    probe: Probe
    repeated: int
    expires_at: float


class NegativeCache:
    """Keeps each refusal for a while, longer after each repetition: a refusal costs a channel and a broker log line.

    Times are those of the event loop, in seconds.
    """

    def __init__(self) -> None:
        self._refusals: dict[str, _Refusal] = {}

    def add(self, queue: str, probe: Probe, now: float) -> None:
        """Record that the broker refused to answer for this queue."""
        before = self._refusals.get(queue)
        repeated = 0 if before is None else before.repeated + 1
        self._refusals[queue] = _Refusal(probe, repeated, now + BACKOFF.seconds(repeated))

    def current(self, queues: Iterable[str], now: float) -> Mapping[str, Probe]:
        """Return the refusals that have not expired: these queues must not be probed yet."""
        known = ((queue, self._refusals[queue]) for queue in queues if queue in self._refusals)
        return {queue: refusal.probe for queue, refusal in known if now < refusal.expires_at}

    def discard(self, queue: str) -> None:
        """Forget the refusal of a queue that was answered."""
        self._refusals.pop(queue, None)

    def on_queues_found(self, queues: Collection[str]) -> None:
        """Forget that these queues were missing, so that they are probed at once; an unreadable queue stays."""
        for queue in self._refusals.keys() & queues:
            if self._refusals[queue].probe.missing:
                del self._refusals[queue]

    def retain(self, queues: Collection[str]) -> None:
        """Forget all other queues."""
        self._refusals = {queue: self._refusals[queue] for queue in self._refusals.keys() & queues}
