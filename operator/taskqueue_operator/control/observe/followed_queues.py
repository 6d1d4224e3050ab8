"""Which queues are read on behalf of which TaskQueues, and what was read of each queue."""

from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping
from datetime import datetime

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.names import DELAY_QUEUES, PARKING, Key, landing_queue, marker_queue
from taskqueue_operator.scaling.reading import Reading, Sweep

from .dead_letter_counts import DeadLetterCounts
from .samples import Samples, queue_state


class FollowedQueues:
    """The followed queues of one endpoint. A queue that no TaskQueue follows any more is forgotten.

    Attributes:
        dead_letters: What the dead-letter queues of the TaskQueues hold.
        has_overdue_retries: Whether a delay queue of the vhost holds retries whose time has come, at the last sweep.
        parked: Number of retries in the parking queue of the vhost, at the last sweep that showed it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: dict[str, Samples] = {}
        self._queues: dict[Key, set[str]] = {}
        self._required: dict[Key, Collection[str]] = {}
        self.dead_letters = DeadLetterCounts()
        self.has_overdue_retries = False
        self.parked = 0

    def __bool__(self) -> bool:
        """Whether a queue is followed."""
        return bool(self._samples)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the queues."""
        return iter(self._samples)

    def items(self) -> ItemsView[str, Samples]:
        """Return the queues with their samples."""
        return self._samples.items()

    @property
    def keys(self) -> set[Key]:
        """The TaskQueues that follow queues."""
        return set(self._queues)

    def follow(self, key: Key, queues: Collection[str]) -> None:
        """Follow these queues on behalf of a TaskQueue, and no longer any others."""
        for queue in self._queues.pop(key, set()) - set(queues):
            self._samples[queue].keys.discard(key)
            if not self._samples[queue].keys:
                del self._samples[queue]
        if not queues:
            self._required.pop(key, None)
        for queue in queues:
            self._queues.setdefault(key, set()).add(queue)
            if queue not in self._samples:
                self._samples[queue] = Samples((), self._clock())
            self._samples[queue].keys.add(key)

    def require(self, key: Key, queues: Collection[str]) -> None:
        """Record which queues of a TaskQueue must exist, although they are not followed."""
        self._required[key] = queues

    def lacking(self, present: Collection[str]) -> list[Key]:
        """Return the TaskQueues of which a required queue is not among the present ones."""
        return [key for key, required in self._required.items() if any(queue not in present for queue in required)]

    def samples(self, queue: str) -> Samples | None:
        """Return the samples of a queue; None if it is not followed."""
        return self._samples.get(queue)

    def discard_samples(self, queue: str) -> None:
        """Discard the samples of a queue: a write has made them obsolete."""
        if queue in self._samples:
            self._samples[queue] = Samples(self._samples[queue].keys, self._clock())

    def store_sweeps(self, answers: Mapping[str, Sweep]) -> None:
        """Store the sweeps of queues that are still followed."""
        for queue, answer in answers.items():
            if queue in self._samples:
                self._samples[queue].add_sweep(answer)

    def store_delayed(self, answers: Mapping[str, Sweep]) -> set[Key]:
        """Store the number of delayed retries of each queue; return the TaskQueues for which it has changed."""
        overdue = (answers[name].deferred for name in DELAY_QUEUES if name in answers)
        self.has_overdue_retries = any(deferred is None or deferred > 0 for deferred in overdue)
        changed: set[Key] = set()
        for queue, samples in self._samples.items():
            waiting = [answers[name] for name in (marker_queue(queue), landing_queue(queue)) if name in answers]
            before, samples.delayed = samples.delayed, _total(waiting) if waiting else 0
            if before != samples.delayed:
                changed |= samples.keys
        return changed

    def store_parked(self, answers: Mapping[str, Sweep]) -> set[Key]:
        """Store the number of parked retries; return all TaskQueues if the first one has come or the last one gone."""
        before, found = self.parked, _total([answers[PARKING]]) if PARKING in answers else 0
        self.parked = before if found is None else found
        return self.keys if bool(before) != bool(self.parked) else set()

    def reading(self, queue: str) -> Reading:
        """Return the bounds of a queue's depth as known now."""
        samples = self._samples.get(queue)
        probes, sweeps = (samples.probes, samples.sweeps) if samples is not None else ((), ())
        return Reading.from_samples(probes, sweeps, self._clock())

    def queue_state(self, queue: str) -> QueueState:
        """Return what a drain plan needs to know of a queue now."""
        samples, at = self._samples.get(queue), self._clock()
        return queue_state(samples.probes, samples.sweeps, at) if samples is not None else QueueState(running=False)

    def consumers(self, queue: str) -> int | None:
        """Return the number of consumers that the last probe found; None if it is unknown."""
        samples = self._samples.get(queue)
        return samples.probe.consumers if samples is not None and samples.probe is not None else None

    def delayed(self, queue: str) -> int | None:
        """Return the number of delayed retries of a queue by the last sweep, at most; None if it is unknown."""
        samples = self._samples.get(queue)
        return samples.delayed if samples is not None else None

    def last_messages(self, queue: str) -> int | None:
        """Return how many messages a queue had in any state when it was last read; None if it was not."""
        samples = self._samples.get(queue)
        return samples.last_messages if samples is not None else None

    def read_at(self, queue: str) -> datetime | None:
        """Return when the last probe that returned a depth was sent; None before the first one."""
        samples = self._samples.get(queue)
        return samples.read_at if samples is not None else None


def _total(sweeps: Iterable[Sweep]) -> int | None:
    total = 0
    for sweep in sweeps:
        if sweep.doubt is not None:
            return None
        total += (sweep.ready or 0) + (sweep.unacked or 0) + (sweep.deferred or 0)
    return total
