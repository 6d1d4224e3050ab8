"""How many messages the dead-letter queues of TaskQueues hold."""

from collections.abc import Mapping

from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Sweep


class DeadLetterCounts:
    """The numbers by the last sweep that contained each queue. All queues that a TaskQueue consumes share one."""

    def __init__(self) -> None:
        self._queues: dict[Key, str] = {}
        self._counts: dict[Key, int] = {}

    def follow(self, key: Key, queue: str | None) -> None:
        """Count the messages in this dead-letter queue of a TaskQueue, and no longer those in another one."""
        if self._queues.get(key) == queue:
            return
        self._queues.pop(key, None)
        self._counts.pop(key, None)
        if queue is not None:
            self._queues[key] = queue

    def store(self, answers: Mapping[str, Sweep]) -> set[Key]:
        """Store the numbers of a sweep; return the TaskQueues for which they have changed."""
        changed: set[Key] = set()
        for key, queue in self._queues.items():
            found = answers.get(queue)
            if found is None or found.ready is None or found.unacked is None:
                continue
            before, self._counts[key] = self._counts.get(key), found.ready + found.unacked
            if before != self._counts[key]:
                changed.add(key)
        return changed

    def of(self, key: Key) -> int | None:
        """Return the number for a TaskQueue; None if it is unknown."""
        return self._counts.get(key)
