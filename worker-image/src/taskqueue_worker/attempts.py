"""Which attempt of a task comes next, from the flag and the headers of its delivery. Pure.

A message whose delivery ended without a settlement is a *suspect*: it may have ended the process that ran it. Brokers
do not count attempts: a classic queue only says that a message was delivered before, and a quorum queue counts every
message that a lost worker held. So the worker publishes a suspect to its queue once more, as a copy that carries the
number of the next attempt, and acknowledges the original. The copy is last in the queue, and its task runs alone.

Where the broker delays retries, it counts failed tasks and lost workers alike, and its count is the number of attempts.
A message comes back after its last attempt only if its worker was lost: then it is a suspect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from taskqueue_drain import copy_headers
from taskqueue_drain.copy_headers import ATTEMPT, BROKER_FAILURES, SUSPECT


class AttemptState(StrEnum):
    """What is known of the earlier attempts of a delivered message."""

    NEW = "new"
    """No earlier attempt ended a worker: the task may run beside others."""
    RECORDED = "recorded"
    """A suspect whose next attempt is recorded: it runs alone."""
    RETURNED = "returned"
    """A suspect whose attempt may have begun: the next attempt must be recorded before it begins."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt of a task.

    Attributes:
        number: Counts from 1. Of a returned message, the attempt that may have begun; else the one that comes next.
        state: What is known of the earlier attempts.
        is_copy: Whether a worker has published the message again, so that the number was counted and not assumed.
    """

    number: int
    state: AttemptState
    is_copy: bool

    @classmethod
    def of(
        cls, headers: Mapping[str, Any], *, redelivered: bool, counts_failures: bool, attempts_of_broker: int = 0
    ) -> Self:
        """Read the attempt of a delivery.

        Args:
            headers: The headers of the message. Publishers may have set any of them to anything.
            redelivered: Whether the broker delivered the message before.
            counts_failures: Whether the queue counts failed deliveries, and only those (quorum, since RabbitMQ 4.3).
            attempts_of_broker: Attempts of a task that the broker counts; 0 if it does not.
        """
        number = copy_headers.attempt(headers)
        stated = headers.get(SUSPECT)
        suspect = AttemptState(stated) if stated in (AttemptState.RECORDED, AttemptState.RETURNED) else None
        if redelivered and counts_failures and suspect is None and attempts_of_broker:
            return cls._counted(number + copy_headers.broker_failures(headers), attempts_of_broker)
        if redelivered and (headers.get(BROKER_FAILURES) or not counts_failures):
            state = AttemptState.RETURNED
        else:
            state = suspect or AttemptState.NEW
        return cls(number, state, is_copy=suspect is not None)

    @classmethod
    def _counted(cls, number: int, limit: int) -> Self:
        """Return an attempt that the broker has counted; beyond the limit, the last one may have begun."""
        if number <= limit:
            return cls(number, AttemptState.NEW, is_copy=False)
        return cls(max(1, limit - 1), AttemptState.RETURNED, is_copy=False)

    def is_last(self, limit: int) -> bool:
        """Whether a returned message has used its attempts.

        The first return of a message may be one of a message that no worker began, so it is never the last.
        """
        return self.state is AttemptState.RETURNED and self.is_copy and self.number >= limit

    def headers_of_next(self) -> dict[str, object]:
        """The headers of the copy of a returned message that records its next attempt."""
        return {ATTEMPT: self.number + 1, SUSPECT: AttemptState.RECORDED.value}

    def headers_of_cancelled(self) -> dict[str, object]:
        """The headers of the copy of a recorded message whose attempt did not begin."""
        return {ATTEMPT: self.number - 1, SUSPECT: AttemptState.RETURNED.value}
