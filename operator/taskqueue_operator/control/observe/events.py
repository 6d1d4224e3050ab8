"""The events of an observer."""

from collections.abc import Collection
from typing import Protocol

from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology


class ObserverEvents(Protocol):
    """The listener of an observer. No method may block or raise, and only `on_topology` waits."""

    def is_scaled_to_zero(self, key: Key) -> bool:
        """Whether a TaskQueue has no workers: its queue is probed more often, and only changes are notified."""
        ...

    def on_readings(self, keys: Collection[Key]) -> None:
        """These TaskQueues have new readings, or their readings have aged."""
        ...

    def on_queue_missing(self, key: Key) -> None:
        """The queue of this TaskQueue is not on the broker."""
        ...

    def on_counts(self, keys: Collection[Key]) -> None:
        """The number of dead letters, delayed or parked retries has changed for these TaskQueues."""
        ...

    async def on_topology(self, keys: Collection[Key], actual: Topology) -> None:
        """All objects of the vhost were read; these TaskQueues are on it."""
        ...

    def on_worker_report(self, subject: str, report: bytes, address: str) -> None:
        """A worker of TaskQueue `subject` (`namespace/name`) has reported; `address` receives commands to it."""
        ...

    def on_answering(self, keys: Collection[Key]) -> None:
        """The broker of these TaskQueues can be read for the first time."""
        ...

    def on_broker_health(self, keys: Collection[Key]) -> None:
        """The broker of these TaskQueues cannot be read, can be read again, or fails for another reason."""
        ...
