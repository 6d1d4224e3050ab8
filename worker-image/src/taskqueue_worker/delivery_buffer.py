"""Decides which message runs and which waits, in synchronous steps."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from .waiting_messages import WaitingMessages

Message = TypeVar("Message", bound=Hashable)


class DeliveryBuffer(Generic[Message]):
    """The unacknowledged messages of a worker. Each one waits or runs; a withdrawn message can no longer start.

    No step awaits, so on one event loop a message is never both requeued and run.
    """

    def __init__(
        self,
        slots: int,
        runs_alone: Callable[[Message], bool] = lambda _: False,
        queue_of: Callable[[Message], str] = lambda _: "",
    ) -> None:
        """`runs_alone` selects the messages that run only while no other one does; queues take turns."""
        self._slots = slots
        self._runs_alone = runs_alone
        self._waiting = WaitingMessages(queue_of)
        self._running: set[Message] = set()
        self._alone: Message | None = None
        self._closed = False

    @property
    def prefetched(self) -> int:
        """Number of waiting messages."""
        return len(self._waiting)

    @property
    def first_waiting(self) -> Iterable[Message]:
        """The message of each queue that waits longest."""
        return self._waiting.first

    @property
    def in_flight(self) -> int:
        """Number of running messages."""
        return len(self._running)

    def add(self, message: Message) -> None:
        """Add a delivered message; it waits."""
        self._waiting.add(message)

    @property
    def can_start(self) -> bool:
        """Whether the next message may start now."""
        message = self._waiting.next
        if self._closed or message is None or self.is_full:
            return False
        return not self._running or not self._runs_alone(message)

    @property
    def is_full(self) -> bool:
        """Whether no further message can run now."""
        return len(self._running) >= self._slots or self.is_exclusive

    @property
    def is_exclusive(self) -> bool:
        """Whether a message runs that runs alone."""
        return self._alone is not None

    def start_next(self) -> Message:
        """Start the next message, which `can_start`."""
        message = self._waiting.take_next()
        self._running.add(message)
        if self._runs_alone(message):
            self._alone = message
        return message

    def take(self, matches: Callable[[Message], bool]) -> list[Message]:
        """Move the waiting messages that match to the running ones, whatever runs, and return them."""
        taken = self.withdraw(matches)
        self._running.update(taken)
        return taken

    def add_first(self, message: Message) -> None:
        """Add a message that starts before all that wait."""
        self._waiting.add_first(message)

    def release(self, message: Message) -> None:
        """Free the slot of a message that ran."""
        self._running.remove(message)
        if message is self._alone:
            self._alone = None

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

    def turn_of(self, queue: str) -> float:
        """Return when it is the turn of a queue: 0 for the first one, up to 1 for the last one."""
        return self._waiting.turn_of(queue)

    def waiting(self, matches: Callable[[Message], bool]) -> list[Message]:
        """Return the waiting messages that match, of each queue the one that waits longest first."""
        return [message for message in self._waiting if matches(message)]

    def withdraw(self, matches: Callable[[Message], bool]) -> list[Message]:
        """Remove and return the waiting messages that match."""
        return self._waiting.withdraw(matches)
