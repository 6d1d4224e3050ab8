"""For TASKQUEUE_MODULES, beside the tasks: the worker reports, retries and gives up each second.

For tests that wait for the next report or attempt. How long the real periods are, unit tests show in virtual time.
"""

from taskqueue_drain import backoff, worker_protocol
from taskqueue_worker import bounds, runner

worker_protocol.REPORT_PERIOD_SECONDS = 1  # type: ignore[misc]  # a constant everywhere else
backoff.LONGEST_BACKOFF_SECONDS = 1.0  # type: ignore[misc]  # likewise
runner.STOP_GRACE_SECONDS = 1  # type: ignore[misc]  # likewise
bounds.HELD_SECONDS = 2  # type: ignore[misc]  # likewise
