"""Remembers how tasks ended that could not be settled, for when the broker delivers their messages again."""

import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from .bounds import UNSETTLED_MESSAGES, UNSETTLED_SECONDS
from .delivery import Delivery

Result = TypeVar("Result")


class _Message(NamedTuple):
    """What is equal in all deliveries of a message."""

    queue: str
    task_id: str
    type: str
    routing_key: str | None
    body_hash: int


class EndedTasks(Generic[Result]):
    """The results of ended tasks whose deliveries were lost with the connection.

    Each result settles one later delivery. So even of two messages that cannot be told apart, none is settled without
    a run of its own. A message without `message_id` is not remembered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._results: dict[_Message, tuple[float, Result]] = {}

    def remember(self, delivery: Delivery, result: Result) -> None:
        """The task ended with this result, and its delivery is lost."""
        if message := _identify(delivery):
            self._results.pop(message, None)
            self._results[message] = self._clock(), result
            if len(self._results) > UNSETTLED_MESSAGES:
                del self._results[next(iter(self._results))]

    def take(self, delivery: Delivery) -> Result | None:
        """Return the result of the message of a new delivery, and forget it; None if it has to run."""
        if not self._results or not delivery.redelivered:
            return None
        message = _identify(delivery)
        ended_at, result = self._results.pop(message, (0.0, None)) if message else (0.0, None)
        return result if self._clock() - ended_at < UNSETTLED_SECONDS else None


def _identify(delivery: Delivery) -> _Message | None:
    if delivery.task_id is None:
        return None
    return _Message(delivery.queue, delivery.task_id, delivery.type, delivery.routing_key, hash(delivery.body))
