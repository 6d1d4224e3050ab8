"""The slots of the pool gevent. It blocks the greenlet that gives it a task too many, and then begins the task."""

from collections import deque
from collections.abc import Callable
from typing import Any


class GreenSlots:
    """Takes the place of the semaphore that Celery has for the pool prefork: tasks wait where they are found."""

    def __init__(self, consumer: Any, may_begin: Callable[[], bool]) -> None:  # noqa: ANN401 - Celery has no types
        """Watch the pool; `may_begin` says whether tasks may begin now."""
        self._pool = consumer.pool
        self._may_begin = may_begin
        self._waiting: deque[tuple[Callable[[Any], None], tuple[Any], None]] = deque()
        self._apply_async = self._pool.apply_async
        self._pool.apply_async = self._begin
        consumer.controller.semaphore = self

    def acquire(self, begin: Callable[[Any], None], request: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Begin a task when a slot is free."""
        self._waiting.append((begin, (request,), None))
        self.fill()

    def fill(self) -> None:
        """Begin the tasks for which a slot is free."""
        while self._waiting and self._may_begin() and not self._pool._pool.full():  # noqa: SLF001 - it has no public name
            begin, (request,), _ = self._waiting.popleft()
            begin(request)

    def clear(self) -> None:
        """Celery has lost the connection from which the waiting tasks are."""
        self._waiting.clear()

    def _begin(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - Celery has no types
        greenlet = self._apply_async(*args, **options)
        greenlet.link(lambda _: self.fill())
        return greenlet
