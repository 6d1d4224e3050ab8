"""Counts and logs how a task ended."""

import structlog

from .delivery import Delivery
from .metrics import Metrics
from .run_outcome import Outcome, Status

_log = structlog.get_logger("worker")


def record_end(metrics: Metrics, delivery: Delivery, outcome: Outcome, seconds: float, *, settled: bool) -> None:
    """Count a task that ran for so many seconds, and write its log line."""
    metrics.count_task(delivery.queue, delivery.type, outcome.status, seconds)
    line = {
        "type": delivery.type,
        "routing_key": delivery.routing_key,
        "queue": delivery.queue,
        "attempt": delivery.attempt.number,
        "redelivered": delivery.redelivered,
        "duration_ms": round(seconds * 1000, 3),
        "status": outcome.status.value,
        "settled": settled,
    }
    if outcome.failure is None:
        _log.info("task", **line)
    elif outcome.status in {Status.REQUEUED, Status.DUPLICATE}:
        _log.info("task", **line, reason=outcome.failure.text)
    else:
        _log.error("task", **line, exception=outcome.failure.stack)
    if not settled and outcome.status is not Status.ABANDONED:
        metrics.ack_failed.inc()
        _log.warning("connection lost before the task was settled, the broker redelivers it")
