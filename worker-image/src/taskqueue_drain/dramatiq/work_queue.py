"""The messages that wait in the process for a thread."""

from collections.abc import Callable
from queue import Empty, PriorityQueue
from typing import Any

from dramatiq.common import iter_queue


class WorkQueue(PriorityQueue[Any]):
    """Takes the place of dramatiq's work queue. While it is held, nothing waits in it, and so no task begins."""

    def __init__(self, requeue: Callable[[Any], None]) -> None:
        """`requeue` returns a message to its queue at the broker, on any thread."""
        super().__init__()
        self._requeue = requeue
        self._is_held = False
        self._has_ended = False

    # typing has no `override` before Python 3.12.
    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # type: ignore[explicit-override]  # noqa: ANN401, ARG002, FBT001, FBT002 - the signature of Queue
        """Let a message wait for a thread; give it back if the queue is held."""
        with self.mutex:
            if not self._is_held:
                self._put(item)
                self.unfinished_tasks += 1
                self.not_empty.notify()
                return
        self._requeue(item.message)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # type: ignore[explicit-override]  # noqa: ANN401, FBT001, FBT002 - likewise
        """Return the next message; raise Empty if there is none in time, or at the end."""
        with self.not_empty:
            self.not_empty.wait_for(lambda: self.queue or self._has_ended, timeout if block else 0)
            if not self.queue:
                raise Empty
            return self._get()

    def end(self) -> None:
        """Let no thread wait any longer."""
        with self.not_empty:
            self._has_ended = True
            self.not_empty.notify_all()

    def hold(self) -> None:
        """Give back what waits, and what comes."""
        with self.mutex:
            self._is_held = True
        for item in iter_queue(self):
            self._requeue(item.message)
            self.task_done()

    def release(self) -> None:
        """Let messages wait again."""
        with self.mutex:
            self._is_held = False

    @property
    def in_flight(self) -> int:
        """Messages that a thread has taken and not finished."""
        with self.mutex:
            return self.unfinished_tasks - len(self.queue)
