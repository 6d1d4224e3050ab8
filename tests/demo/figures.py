"""What is shown and added up. Counts of messages are the broker's, those of workers the API server's."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

SETTLING_SECONDS = 15
"""Three times the interval at which the broker renews its statistics."""


class Counts(NamedTuple):
    """What the broker has counted since the queue was made."""

    unacked: int = 0
    acked: int = 0
    redelivered: int = 0


@dataclass
class Figures:
    """The state of the demo; the watchers fill it in."""

    total: int
    before: Counts
    """Of an earlier run on the same queue."""
    published: int = 0
    ready: int = 0
    dead: int = 0
    counts: Counts = field(default_factory=Counts)
    replicas: int = 0
    workers: int = 0
    desired: int = 0
    peak: int = 0
    first_publish: float | None = None
    first_scale_up: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the curtain."""
        return time.monotonic() - self.began

    @property
    def done(self) -> int:
        """Tasks that a worker has acknowledged."""
        return max(0, self.counts.acked - self.before.acked)

    @property
    def redelivered(self) -> int:
        """Messages that were handed out more than once, for whatever reason."""
        return max(0, self.counts.redelivered - self.before.redelivered)

    @property
    def lost(self) -> int:
        """Published tasks that are neither done, nor waiting, nor with a worker, nor dead-lettered.

        Meaningful once nothing moves: until then the broker's counts are of different moments.
        """
        return self.published - self.done - self.ready - self.counts.unacked - self.dead

    @property
    def at_rest(self) -> bool:
        """Whether workers came, nothing is left to do and nobody to do it."""
        return self.peak > 0 and not (self.ready or self.counts.unacked or self.replicas or self.workers)

    @property
    def went_well(self) -> bool:
        """Whether every task was done, once."""
        return self.done == self.published == self.total and not (self.redelivered or self.dead or self.lost)

    def publishing(self) -> None:
        """Note the moment before the first message leaves."""
        self.first_publish = time.monotonic()

    def scaled(self, replicas: int, workers: int) -> None:
        """Note what the API server says about the Deployment."""
        self.replicas, self.workers = replicas, workers
        self.peak = max(self.peak, workers)
        if replicas and self.first_publish and not self.first_scale_up:
            self.first_scale_up = time.monotonic()

    async def over(self) -> None:
        """Wait until all is at rest and the broker's statistics have had the time to say so."""
        since = time.monotonic()
        while time.monotonic() - since < SETTLING_SECONDS:
            counts, resting = self.counts, self.at_rest
            await asyncio.sleep(0.2)
            if not resting or counts != self.counts:
                since = time.monotonic()
            elif not self.lost:
                return

    def summary(self) -> str:
        """The last line."""
        counts = (
            f"{self.published:,} tasks published, {self.done:,} done, {self.redelivered} redelivered, {self.lost} lost"
        )
        if self.dead:
            counts += f", {self.dead} dead-lettered"
        first = "never"
        if self.first_publish and self.first_scale_up:
            first = f"{self.first_scale_up - self.first_publish:.1f} s"
        return f"{counts}; workers 0 -> {self.peak} -> {self.workers}; first publish to first scale-up: {first}"
