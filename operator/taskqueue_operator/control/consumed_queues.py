"""The queues that the workers of one TaskQueue consume, read as one."""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import add
from typing import NamedTuple

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.scaling.reading import Reading

from .queue_observer import QueueObserver


class ConsumedQueues(NamedTuple):
    """What an observer knows of these queues together: what is unknown of one of them is unknown of all.

    Attributes:
        observer: Reads them.
        names: Their names, at least one.
    """

    observer: QueueObserver
    names: tuple[str, ...]

    def reading(self) -> Reading:
        """Return the bounds of their depth as known now."""
        return reduce(add, map(self.observer.reading, self.names))

    def queue_state(self) -> QueueState:
        """Return what a drain plan needs to know of them now."""
        states = [self.observer.queue_state(name) for name in self.names]
        empty = [state.empty_at for state in states if state.empty_at is not None]
        return QueueState(
            running=all(state.running for state in states), empty_at=min(empty) if len(empty) == len(states) else None
        )

    def without_consumer(self) -> tuple[str, ...]:
        """Return the queues in which messages wait and that have no consumer by the last probe."""
        idle = (name for name in self.names if self.observer.consumers(name) == 0)
        return tuple(name for name in idle if self.observer.reading(name).at_least)

    def holding(self, ready: int) -> tuple[str, ...]:
        """Return the queues with at least so many ready messages."""
        return tuple(name for name in self.names if (self.observer.reading(name).at_least or 0) >= ready)

    def dead_letters(self) -> int | None:
        """Return the number of messages in their dead-letter queues; None if one of the numbers is unknown."""
        return _total(map(self.observer.dead_letters, self.names))

    def delayed(self) -> int | None:
        """Return the number of their delayed retries, at most; None if one of the numbers is unknown."""
        return _total(map(self.observer.delayed, self.names))

    def read_at(self) -> datetime | None:
        """Return when the last probe of the queue that was read longest ago was sent; None if one was never read."""
        times = [self.observer.read_at(name) for name in self.names]
        known = [at for at in times if at is not None]
        return min(known) if len(known) == len(times) else None

    def fault(self) -> Fault | None:
        """Return why one of them cannot be read at present: a fault of the broker, or of a permission."""
        return next(filter(None, map(self.observer.fault_at, self.names)), None)


def _total(numbers: Iterable[int | None]) -> int | None:
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None
