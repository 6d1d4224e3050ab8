"""The tasks that the pool of a Celery worker runs. Every pool is asked, and calls back, in one place: `apply_async`."""

import time
from typing import Any, Final

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)

from taskqueue_drain.task_runs import Status, TaskRuns

_STATUSES: Final = (
    (Retry, Status.RETRIED),
    (Ignore, Status.IGNORED),
    ((TimeLimitExceeded, SoftTimeLimitExceeded), Status.TIMEOUT),
    (WorkerLostError, Status.WORKER_LOST),
    (Terminated, Status.REVOKED),
)


def watch_pool(pool: Any, runs: TaskRuns) -> None:  # noqa: ANN401 - Celery has no types
    """Record every task that the pool begins from now on. Celery has not made the requests of its tasks yet."""
    begin = pool.apply_async

    def apply_async(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # noqa: ANN401 - see above
        request = getattr(options.get("callback"), "__self__", None)
        if request is None:  # no task
            return begin(target, args, kwargs, **options)
        execution = Execution(request, runs, options)
        callbacks = {
            "accept_callback": execution.on_accepted,
            "callback": execution.on_success,
            "error_callback": execution.on_failure,
            "timeout_callback": execution.on_timeout,
        }
        try:
            result = begin(target, args, kwargs, **options | callbacks)
        except BaseException:
            execution.end(Status.FAILED)
            raise
        if hasattr(result, "link"):  # a greenlet that is killed before it begins calls nothing else
            result.link(lambda _: execution.end(Status.REVOKED))
        return result

    pool.apply_async = apply_async


class Execution:
    """One run of a task in the pool: Celery's callbacks go through it.

    Attributes:
        request: Celery's request.
    """

    __slots__ = ("_options", "_runs", "request")

    def __init__(self, request: Any, runs: TaskRuns, options: dict[str, Any]) -> None:  # noqa: ANN401 - see above
        self.request = request
        self._runs = runs
        self._options = options
        runs.begin(self, time.monotonic())

    def discard(self) -> None:
        """The pool has given the task back and will not call."""
        self._runs.discard(self, time.monotonic())

    def end(self, status: Status) -> None:
        """The task has ended."""
        self._runs.end(self, str(self.request.type), status, time.monotonic())

    def on_accepted(self, pid: int, accepted_at: float) -> None:
        """The task begins."""
        self._runs.start(self, accepted_at)
        self._options["accept_callback"](pid, accepted_at)

    def on_success(self, result: Any, **options: Any) -> None:  # noqa: ANN401 - see above
        """The task has returned or raised: result is (whether it raised, value or exception, ...)."""
        try:
            self._options["callback"](result, **options)
        finally:
            self.end(_status_of(result[1]) if result[0] else Status.DONE)

    def on_failure(self, error: Any, **options: Any) -> None:  # noqa: ANN401 - see above
        """The pool has lost or ended the task."""
        try:
            self._options["error_callback"](error, **options)
        finally:
            self.end(_status_of(error))

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - the pools call it so
        """The task exceeds a limit; after a soft one it goes on."""
        try:
            self._options["timeout_callback"](soft, timeout)
        finally:
            if not soft:
                self.end(Status.TIMEOUT)


def _status_of(info: Any) -> Status:  # noqa: ANN401 - see above
    error = getattr(info, "exception", info)
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    if isinstance(error, Reject):
        return Status.REQUEUED if error.requeue else Status.REJECTED
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.FAILED)
