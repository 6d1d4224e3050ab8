"""How a task ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from .failure import ErrorType, Failure
from .handlers.retry_rule import RetryRule
from .outcomes import Duplicate, Reject, Requeue
from .payload import InvalidPayloadError, PayloadError
from .pools.child_exit import ChildLostError
from .run import Run
from .selection import ExpiredError, UnknownTypeError, UnknownVersionError


class Status(StrEnum):
    """How a task ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    INVALID_PAYLOAD = "invalid_payload"
    DUPLICATE = "duplicate"
    """The task was done before."""
    EXPIRED = "expired"
    """The time until which the publisher wants it to begin is over: the task did not run."""
    REJECTED = "rejected"
    """The handler raised `Reject`."""
    WORKER_LOST = "worker_lost"
    """The process that ran it ended: its child; or the worker, in its last attempt, and it did not run again."""
    REQUEUED = "requeued"
    """The message returns to its queue: the handler raised `Requeue`, or was cancelled for no fault of its own."""
    ABANDONED = "abandoned"
    """Running tasks were cancelled, but the handler did not stop. The message returns when the process ends."""

    @property
    def is_done(self) -> bool | None:
        """Whether the task is done or has failed; None if it is neither."""
        return None if self in {Status.REQUEUED, Status.ABANDONED} else self is Status.DONE


_REFUSALS: Final[Mapping[ErrorType, Status]] = {
    UnknownTypeError: Status.UNKNOWN_TYPE,
    UnknownVersionError: Status.UNKNOWN_VERSION,
    ExpiredError: Status.EXPIRED,
    PayloadError: Status.INVALID_PAYLOAD,
}
"""Why no handler runs a task."""

_DECISIONS: Final[Mapping[ErrorType, Status]] = {
    Duplicate: Status.DUPLICATE,
    Requeue: Status.REQUEUED,
    Reject: Status.REJECTED,
    InvalidPayloadError: Status.INVALID_PAYLOAD,
    ChildLostError: Status.WORKER_LOST,
}
"""What a call of a handler may raise that is no failure of the handler."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run."""

    status: Status
    failure: Failure | None = None
    still_running: Run | None = None
    """The call of the handler, if it was cancelled and did not stop."""
    is_lost: bool = False
    """Whether the slot is lost: the handler is overdue and does not stop, and no other handler is known to hold it."""
    rule: RetryRule | None = None
    """How the task is tried again after this failure; None: as the worker does it."""

    @classmethod
    def refused(cls, error: Exception) -> Self:
        """Return the outcome of a task that no handler runs, because of this error."""
        return cls(_status_of(type(error), _REFUSALS), Failure.of(error))

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the outcome of a run that has ended."""
        failure = run.ended.result()
        return cls(Status.DONE) if failure is None else cls(_status_of(failure.error_type, _DECISIONS), failure)

    @classmethod
    def interrupted(cls, run: Run) -> Self:
        """Return the outcome of a run that has ended, and whose cancellation was no fault of its own."""
        return cls(Status.REQUEUED) if run.cancelled else cls.of(run)


def _status_of(error: ErrorType, statuses: Mapping[ErrorType, Status]) -> Status:
    return next((status for kind, status in statuses.items() if issubclass(error, kind)), Status.FAILED)
