"""The figures of the demo. Counts of messages come from the broker, counts of workers from the API server."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

SETTLING_SECONDS = 15
"""Three times the interval at which the broker updates its statistics."""


class Counts(NamedTuple):
    """The broker's counts since the queue was created."""

    unacked: int = 0
    acked: int = 0
    redelivered: int = 0


@dataclass
class Figures:
    """The state of the demo; the watches update it."""

    total: int
    before: Counts
    """The counts of an earlier run on the same queue."""
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
    start: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def done(self) -> int:
        """Tasks that workers have acknowledged."""
        return max(0, self.counts.acked - self.before.acked)

    @property
    def redelivered(self) -> int:
        """Messages that were delivered more than once, for any reason."""
        return max(0, self.counts.redelivered - self.before.redelivered)

    @property
    def lost(self) -> int:
        """Published tasks that are neither done, ready, unacked nor dead-lettered.

        Meaningful only when no figure changes: until then the broker's counts are of different moments.
        """
        return self.published - self.done - self.ready - self.counts.unacked - self.dead

    @property
    def is_settled(self) -> bool:
        """Whether workers were started, and neither messages nor workers are left."""
        return self.peak > 0 and not (self.ready or self.counts.unacked or self.replicas or self.workers)

    @property
    def is_success(self) -> bool:
        """Whether every task was done exactly once."""
        return self.done == self.published == self.total and not (self.redelivered or self.dead or self.lost)

    def on_first_publish(self) -> None:
        """Record the moment before the first message is published."""
        self.first_publish = time.monotonic()

    def on_deployment(self, replicas: int, workers: int) -> None:
        """Record the desired and the ready replicas of the Deployment."""
        self.replicas, self.workers = replicas, workers
        self.peak = max(self.peak, workers)
        if replicas and self.first_publish and not self.first_scale_up:
            self.first_scale_up = time.monotonic()

    async def until_settled(self) -> None:
        """Wait until everything is settled and the broker has had the time to update its statistics."""
        since = time.monotonic()
        while time.monotonic() - since < SETTLING_SECONDS:
            counts, settled = self.counts, self.is_settled
            await asyncio.sleep(0.2)
            if not settled or counts != self.counts:
                since = time.monotonic()
            elif not self.lost:
                return

    def summary(self) -> str:
        """Return the last line of the output."""
        counts = (
            f"{self.published:,} tasks published, {self.done:,} done, {self.redelivered} redelivered, {self.lost} lost"
        )
        if self.dead:
            counts += f", {self.dead} dead-lettered"
        first = "never"
        if self.first_publish and self.first_scale_up:
            first = f"{self.first_scale_up - self.first_publish:.1f} s"
        return f"{counts}; workers 0 -> {self.peak} -> {self.workers}; first publish to first scale-up: {first}"
