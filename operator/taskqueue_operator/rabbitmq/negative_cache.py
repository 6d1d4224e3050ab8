"""Queues that are missing or may not be read, and when each is asked again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from taskqueue_operator.scaling.reading import Probe

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    probe: Probe
    pause: float
    until: float


class NegativeCache:
    """Lets a refusal stand for a while, which grows as it is repeated: each costs a channel and a line in a log."""

    def __init__(self) -> None:
        self._refused: dict[str, _Refusal] = {}

    def note(self, queue: str, probe: Probe, now: float) -> None:
        """A queue was refused, at a moment of the loop's time."""
        before = self._refused.get(queue)
        pause = FIRST_PAUSE_SECONDS if before is None else min(2 * before.pause, LONGEST_PAUSE_SECONDS)
        self._refused[queue] = _Refusal(probe, pause, now + pause)

    def standing(self, queues: Iterable[str], now: float) -> Mapping[str, Probe]:
        """Give the refusals that stand: these queues are not to be asked."""
        known = ((queue, self._refused[queue]) for queue in queues if queue in self._refused)
        return {queue: refusal.probe for queue, refusal in known if now < refusal.until}

    def answered(self, queue: str) -> None:
        """A queue was not refused."""
        self._refused.pop(queue, None)

    def found(self, queues: Collection[str]) -> None:
        """These queues exist: those that were missing are asked at once; others of them still may not be read."""
        for queue in self._refused.keys() & queues:
            if self._refused[queue].probe.missing:
                del self._refused[queue]

    def keep(self, queues: Collection[str]) -> None:
        """Forget all other queues."""
        self._refused = {queue: self._refused[queue] for queue in self._refused.keys() & queues}
