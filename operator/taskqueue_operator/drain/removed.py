"""What a worker did when its pod was removed, for a metric and the log."""

from datetime import datetime

from .protocol import State
from .worker import Worker
from .worker_state import RemovedState


def removed_state(worker: Worker, now: datetime) -> RemovedState:
    """Return what a worker did when its pod was removed."""
    found = (
        (worker.has_no_container, RemovedState.NO_CONTAINER),
        (worker.never_consumed(now), RemovedState.NEVER_CONSUMED),
        (worker.is_overdue, RemovedState.OVERDUE),
        (worker.report is None and worker.drained_at is not None, RemovedState.IDLE),
        (worker.last_active_state is State.DRAINED and not worker.in_flight, RemovedState.DRAINED),
        (worker.last_active_state is State.DRAINING, RemovedState.DRAINING),
        (worker.in_flight > 0, RemovedState.BUSY),
    )
    return next((state for applies, state in found if applies), RemovedState.UNKNOWN)
