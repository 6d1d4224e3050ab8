"""Who is to go, when some are to: those who do not work first, then those who were asked already, then the idlest."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from .worker import Worker
from .worker_pool import WorkerPool
from .worker_state import WorkerState

Rank = tuple[float, ...]


def choose(crew: WorkerPool, live: Collection[Worker], count: int, desired: int, now: datetime) -> list[Worker]:
    """Choose up to `count` workers to go; who was asked already stays chosen: the set changes by the difference.

    Of those who consume, or would if they were asked back, only so many are chosen that `desired` others do: who
    starts, crashes or is silent is no substitute for one that works.
    """
    ranked = sorted(
        ((rank, worker) for worker in live if (rank := _rank(crew, worker, now)) is not None),
        key=lambda each: each[0],
    )
    others = [worker for rank, worker in ranked if rank[0] not in _ABLE]
    able = [worker for rank, worker in ranked if rank[0] in _ABLE]
    going = sum(rank[0] == _GOING for rank, _ in ranked)
    spare = sum(_consumes(crew, worker, now) for worker in live) + going - desired
    return [*others, *able[: max(0, spare)]][:count]


_CONTAINERLESS, _FAILING, _STARTING, _GOING, _CONSUMING = range(5)
_ABLE: Final = frozenset({_GOING, _CONSUMING})


def _consumes(crew: WorkerPool, worker: Worker, now: datetime) -> bool:
    working = worker.standing(now) is WorkerState.CONSUMING and not worker.fails
    return working and not worker.going(crew.installation, now)


def _rank(crew: WorkerPool, worker: Worker, now: datetime) -> Rank | None:
    """Say where it stands in the order of going; None for one that cannot be asked."""
    standing = worker.standing(now)
    if standing in {WorkerState.NO_CONTAINER, WorkerState.LEAVING}:
        return (_CONTAINERLESS,)
    if worker.fails:
        return (_FAILING,)
    if worker.going(crew.installation, now):
        # From the end they are asked back: drained ones first, then those with most in flight.
        return (_GOING, standing is WorkerState.DRAINED, worker.in_flight)
    if not _can_be_asked(crew, worker, standing, now):
        return None
    if standing is not WorkerState.CONSUMING:
        return (_STARTING,)
    # Who is idle and has refused is waited for before anybody is asked who runs a task.
    doubtful = worker.refuses(now) or worker.report_overdue(now)
    return (_CONSUMING, worker.in_flight > 0, doubtful, -worker.idle_seconds, worker.in_flight)


def _can_be_asked(crew: WorkerPool, worker: Worker, standing: WorkerState, now: datetime) -> bool:
    if worker.report is None or standing is WorkerState.SILENT:
        return False
    if standing in {WorkerState.DRAINING, WorkerState.DRAINED} and not worker.reports_drained_by(crew.installation):
        return False  # another installation's
    return not worker.awaits_answer(now)
