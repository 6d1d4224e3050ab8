"""Dependencies: services of others that tasks need, by the names that workers report while they do not reach them."""

from collections import Counter
from datetime import datetime

from .worker_pool import WorkerPool


def unavailable_dependencies(pool: WorkerPool, now: datetime) -> tuple[str, ...]:
    """Return the dependencies that at least half of the reporting workers do not reach, by name.

    What a worker that is not reporting said last does not count.
    """
    if not pool.without_dependency:
        return ()
    reports = [worker.report for worker in pool.active if worker.is_reporting(now) and worker.report is not None]
    missing = Counter(name for report in reports for name in frozenset(report.unavailable_dependencies))
    return tuple(sorted(name for name, workers in missing.items() if 2 * workers >= len(reports)))
