"""The messages that wait for a slot, and which one is next: the queues of a worker take turns."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Message = TypeVar("Message")


class WaitingMessages(Generic[Message]):
    """Messages by queue, first come, first served in each of them.

    The next message is that of the queue from which a message was taken longest ago, or never. So a queue with very
    many messages delays the first message of another one by the time until a slot is free, and by no more.
    """

    def __init__(self, queue_of: Callable[[Message], str]) -> None:
        self._queue_of = queue_of
        self._urgent: deque[Message] = deque()
        self._queues: dict[str, deque[Message]] = {}
        # Whose turn it is: first the queues that were never served, at the end the one that was served last.
        self._turns: list[str] = []
        self._unserved = 0

    def __len__(self) -> int:
        """Return the number of messages."""
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages."""
        return (message for part in self._parts for message in part)

    @property
    def _parts(self) -> Iterable[deque[Message]]:
        return (self._urgent, *self._queues.values())

    @property
    def first(self) -> list[Message]:
        """The message of each queue that waits longest."""
        return [part[0] for part in self._parts if part]

    @property
    def next(self) -> Message | None:
        """The message whose turn it is; None if none waits."""
        if self._urgent:
            return self._urgent[0]
        queue = self._next_queue
        return self._queues[queue][0] if queue is not None else None

    @property
    def _next_queue(self) -> str | None:
        """The queue with messages that was never served, or else longest ago; None if no message waits."""
        for queue in self._turns:
            if self._queues[queue]:
                return queue
        return None

    def turn_of(self, queue: str) -> float:
        """Return 0 for a queue from which no message was taken, and up to 1 for the one that was served last."""
        served = self._turns[self._unserved :]
        return (served.index(queue) + 1) / len(served) if queue in served else 0.0

    def add(self, message: Message) -> None:
        """Add a message behind those of its queue."""
        queue = self._queue_of(message)
        if queue not in self._queues:
            self._queues[queue] = deque()
            self._turns.insert(self._unserved, queue)
            self._unserved += 1
        self._queues[queue].append(message)

    def add_first(self, message: Message) -> None:
        """Add a message before all others."""
        self._urgent.appendleft(message)

    def take_next(self) -> Message:
        """Remove and return the message whose turn it is; one must wait."""
        queue = self._next_queue
        if self._urgent or queue is None:
            return self._urgent.popleft()
        position = self._turns.index(queue)
        self._turns.append(self._turns.pop(position))
        self._unserved -= position < self._unserved
        return self._queues[queue].popleft()

    def withdraw(self, matches: Callable[[Message], bool]) -> list[Message]:
        """Remove and return the messages that match."""
        withdrawn = [message for message in self if matches(message)]
        for part in self._parts:
            kept = [message for message in part if not matches(message)]
            part.clear()
            part.extend(kept)
        return withdrawn
