"""Decides which message runs and which waits, in synchronous steps."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Message = TypeVar("Message")


class DeliveryBuffer(Generic[Message]):
    """The unacknowledged messages of a worker. Each one waits or runs; a withdrawn message can no longer start.

    No step awaits, so on one event loop a message is never both requeued and run.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._waiting: deque[Message] = deque()
        self._running: set[Message] = set()
        self._closed = False

    @property
    def prefetched(self) -> int:
        """Number of waiting messages."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """Number of running messages."""
        return len(self._running)

    def add(self, message: Message) -> None:
        """Add a delivered message; it waits."""
        self._waiting.append(message)

    def start_next(self) -> Message | None:
        """Start the message that waits longest. None if none waits, no slot is free, or the buffer is closed."""
        if self._closed or not self._waiting or len(self._running) >= self._slots:
            return None
        message = self._waiting.popleft()
        self._running.add(message)
        return message

    def release(self, message: Message) -> None:
        """Free the slot of a message that ran."""
        self._running.remove(message)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing runs and nothing can start."""
        return self._closed and not self._running

    def close(self) -> None:
        """Start no message from now on."""
        self._closed = True

    def reopen(self) -> None:
        """Undo `close`: waiting messages may start again."""
        self._closed = False

    def holds(self, matches: Callable[[Message], bool]) -> bool:
        """Return whether a matching message waits or runs."""
        return any(matches(message) for message in (*self._waiting, *self._running))

    def withdraw(self, matches: Callable[[Message], bool]) -> list[Message]:
        """Remove and return the waiting messages that match."""
        withdrawn = [message for message in self._waiting if matches(message)]
        self._waiting = deque(message for message in self._waiting if not matches(message))
        return withdrawn
