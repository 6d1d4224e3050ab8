"""Requests for reports: candidates are selected by fresh reports, and the regular ones are too rare."""

from datetime import datetime, timedelta
from typing import Final

from .sent_command import ANSWER_TIMEOUT
from .worker import Worker

REPORT_MAX_AGE: Final = timedelta(seconds=2)
"""Maximum age of a report from which candidates are selected, and how long a requested report is awaited."""
REQUEST_AGE: Final = REPORT_MAX_AGE / 2
"""The next report of a worker is requested when its last one is this old: it arrives before the last one is too old.
Of hundreds of workers, one report would be too old at any time otherwise."""


def needs_request(worker: Worker, now: datetime) -> bool:
    """Whether the last report of a worker is soon too old to select by, and no requested one is on its way."""
    if worker.reported_at is None or now - worker.reported_at < REQUEST_AGE:
        return False
    since = _awaited_since(worker)
    return since is None or now - since >= ANSWER_TIMEOUT


def is_outdated(worker: Worker, now: datetime) -> bool:
    """Whether the last report of a worker is too old to select by, and the next one may still arrive in time."""
    if worker.reported_at is None or now - worker.reported_at < REPORT_MAX_AGE:
        return False
    return not is_late(worker, now)


def is_late(worker: Worker, now: datetime) -> bool:
    """Whether a requested report has not arrived in time: the worker may be busy by now."""
    since = _awaited_since(worker)
    return since is not None and worker.reported_at is not None and now - since >= REPORT_MAX_AGE


def _awaited_since(worker: Worker) -> datetime | None:
    """Return when the report was requested that has not arrived yet; None if none is awaited."""
    requested_at, reported_at = worker.report_requested_at, worker.reported_at
    if requested_at is None or (reported_at is not None and reported_at >= requested_at):
        return None
    return requested_at
