"""Tasks that the pool prefork has sent to a process, and of which it has not read that they began.

When a connection ends and at SIGTERM, Celery forgets them. They run nevertheless: no message would be acknowledged, and
each task would run again elsewhere.
"""

from collections.abc import Callable
from typing import Any

from .executions import Execution
from .unstarted import requeue_task


def keep_unaccepted(pool: Any) -> None:  # noqa: ANN401 - Celery has no types
    """Let a pool that has started forget no task that a process may run, and give back what it has not sent to one."""
    flush: Callable[[], None] | None = getattr(pool, "flush", None)
    jobs: dict[int, Any] | None = getattr(getattr(pool, "_pool", None), "_cache", None)
    if flush is None or jobs is None:  # another pool
        return

    def flush_unsent() -> None:
        for job in tuple(jobs.values()):
            if not job._accepted:  # noqa: SLF001 - it has no public name
                _keep_or_give_back(job)
        flush()

    pool.flush = flush_unsent


def _keep_or_give_back(job: Any) -> None:  # noqa: ANN401 - billiard has no types
    if job._write_to is not None:  # noqa: SLF001 - likewise
        job.discard = lambda: None
        return
    execution = getattr(job._callback, "__self__", None)  # noqa: SLF001 - likewise
    if isinstance(execution, Execution):
        execution.discard()
        requeue_task(execution.request)
