"""A Celery worker as the protocol sees it. Two threads meet here: that of the control channel, and Celery's own."""

import time
from collections.abc import Callable
from typing import Any

from taskqueue_drain.protocol import Figures
from taskqueue_drain.task_runs import TaskRuns
from taskqueue_drain.wish import Wish

from . import unstarted


class CeleryRuntime:
    """What the control thread asks for (`taskqueue_drain.Runtime`), and what Celery's thread has done of it.

    Attributes:
        consumer: Celery's consumer.
        wish: What the protocol wishes of Celery's consumer.
        quiet_since: The number of the wish for which it is proved that no message arrives; -1 if it is for none.
        is_connected: Whether Celery has a connection to the broker.
        settling: Requests that have ended and whose messages are about to be settled.
        wake: Makes Celery's thread look at the wish, and at what is to be settled, soon. For any thread.
    """

    def __init__(self, consumer: Any, runs: TaskRuns, wake: Callable[[], None]) -> None:  # noqa: ANN401 - likewise
        self.consumer = consumer
        self.wish = Wish()
        self.quiet_since = -1
        self.is_connected = False
        self._runs = runs
        self.settling: set[Any] = set()
        self.wake = wake

    # On the control thread.

    def stop_consuming(self) -> None:
        """See `Runtime`."""
        self.wish.ask(may_consume=False)
        self.wake()

    def consume(self) -> None:
        """See `Runtime`."""
        self.wish.ask(may_consume=True)
        self.wake()

    @property
    def is_quiet(self) -> bool:
        """See `Runtime`."""
        number, may_consume = self.wish.current
        return not may_consume and self.quiet_since == number

    @property
    def is_consuming(self) -> bool:
        """See `Runtime`."""
        tasks = self.consumer.task_consumer
        return tasks is not None and 0 < len(tasks.queues) <= self.consumed_queues()

    def consumed_queues(self) -> int:
        """Count the queues that have a consumer of this worker. py-amqp forgets one that the broker has cancelled."""
        tasks = self.consumer.task_consumer
        if not self.is_connected or tasks is None:
            return 0
        tags = tuple(tasks._active_tags.values())  # noqa: SLF001 - kombu has no public name
        known = getattr(tasks.channel, "callbacks", tags)  # another transport has none
        return sum(tag in known for tag in tags)

    def figures(self) -> Figures:
        """See `Runtime`."""
        # The pool threads has a queue of its own, of tasks that can still be given back.
        waiting = unstarted.waiting_for_thread(self.consumer)
        prefetched, settling = unstarted.count(self.consumer), len(self.settling)
        return self._runs.figures(time.monotonic(), prefetched=prefetched, waiting=waiting, settling=settling)

    # On Celery's thread.

    def leave(self) -> None:
        """Ask for the end of consuming for good, from a signal handler."""
        self.wish.end()
        self.wake()
