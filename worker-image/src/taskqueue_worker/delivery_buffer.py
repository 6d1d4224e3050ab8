"""Which message runs, which waits: the one place that decides, in plain synchronous steps."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Message = TypeVar("Message")


class DeliveryBuffer(Generic[Message]):
    """The messages a worker holds. Each waits or runs; what has been taken back can no longer start.

    No step awaits, so on one event loop a message is never both given back and worked on.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._waiting: deque[Message] = deque()
        self._running: set[Message] = set()
        self._closed = False

    @property
    def prefetched(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """How many run."""
        return len(self._running)

    def receive(self, message: Message) -> None:
        """A message arrived: it waits."""
        self._waiting.append(message)

    def start(self) -> Message | None:
        """The longest waiting message, running from now; None if there is none, no slot is free, or it is closed."""
        if self._closed or not self._waiting or len(self._running) >= self._slots:
            return None
        message = self._waiting.popleft()
        self._running.add(message)
        return message

    def release(self, message: Message) -> None:
        """A running message is finished with: its slot is free."""
        self._running.remove(message)

    @property
    def is_quiet(self) -> bool:
        """Nothing runs, and nothing will start."""
        return self._closed and not self._running

    def close(self) -> None:
        """From now on nothing starts."""
        self._closed = True

    def reopen(self) -> None:
        """Undo `close`: what waits may start."""
        self._closed = False

    def holds(self, which: Callable[[Message], bool]) -> bool:
        """Whether one that matches waits or runs."""
        return any(which(message) for message in (*self._waiting, *self._running))

    def take_back(self, which: Callable[[Message], bool]) -> list[Message]:
        """Remove those that wait and match."""
        taken = [message for message in self._waiting if which(message)]
        self._waiting = deque(message for message in self._waiting if not which(message))
        return taken
