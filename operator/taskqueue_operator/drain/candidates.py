"""Selects drain candidates.

Workers that are not running come first, then workers already draining, then the longest idle.
"""

from collections.abc import Collection
from datetime import datetime
from enum import IntEnum
from typing import Final

from . import report_requests
from .worker import Worker
from .worker_pool import WorkerPool
from .worker_state import WorkerState

SortKey = tuple[float, ...]


class _Group(IntEnum):
    """The order of selection."""

    NO_CONTAINER = 0
    FAILING = 1
    STARTING = 2
    DRAINING = 3
    CONSUMING = 4


_ABLE_TO_CONSUME: Final = frozenset({_Group.DRAINING, _Group.CONSUMING})


def select(pool: WorkerPool, workers: Collection[Worker], count: int, desired: int, now: datetime) -> list[Worker]:
    """Select up to `count` candidates.

    The set is sticky: a draining worker stays a candidate, and the set changes by the difference alone. Of the workers
    that consume, or would after an `undrain`, at least `desired` are kept: a worker that is starting, crashing or
    silent does not replace a working one.
    """
    keys = ((_sort_key(pool, worker, now), worker) for worker in workers)
    ranked = sorted(((key, worker) for key, worker in keys if key is not None), key=lambda pair: pair[0])
    unable = [worker for key, worker in ranked if key[0] not in _ABLE_TO_CONSUME]
    able = [worker for key, worker in ranked if key[0] in _ABLE_TO_CONSUME]
    draining = sum(key[0] == _Group.DRAINING for key, _ in ranked)
    surplus = sum(_is_consuming(pool, worker, now) for worker in workers) + draining - desired
    return [*unable, *able[: max(0, surplus)]][:count]


def _is_consuming(pool: WorkerPool, worker: Worker, now: datetime) -> bool:
    working = worker.state(now) is WorkerState.CONSUMING and not worker.is_failing
    return working and not worker.drain_requested(pool.installation, now)


def _sort_key(pool: WorkerPool, worker: Worker, now: datetime) -> SortKey | None:
    """Return its place in the order of selection; None if it cannot be drained."""
    state = worker.state(now)
    if state in {WorkerState.NO_CONTAINER, WorkerState.LEAVING}:
        return (_Group.NO_CONTAINER,)
    if worker.is_failing:
        return (_Group.FAILING,)
    if worker.drain_requested(pool.installation, now):
        # The last ones are undrained first: drained workers, then those with most in flight.
        return (_Group.DRAINING, state is WorkerState.DRAINED, worker.in_flight)
    if not _can_be_drained(pool, worker, state, now):
        return None
    if state is not WorkerState.CONSUMING:
        return (_Group.STARTING,)
    # An idle worker that refused is selected, and awaited, before any busy one.
    doubtful = worker.recently_refused(now) or report_requests.is_late(worker, now)
    return (_Group.CONSUMING, worker.in_flight > 0, doubtful, -worker.idle_seconds, worker.in_flight)


def _can_be_drained(pool: WorkerPool, worker: Worker, state: WorkerState, now: datetime) -> bool:
    if worker.report is None or state is WorkerState.SILENT:
        return False
    if state in {WorkerState.DRAINING, WorkerState.DRAINED} and not worker.reports_drained_by(pool.installation):
        return False  # by another installation
    return not worker.awaits_answer(now)
