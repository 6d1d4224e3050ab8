"""Workers that hold messages which no queue takes as dead letters: nothing is lost, and nothing of it goes on."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.drain.context import ALL_REPORTED_WITHIN
from taskqueue_operator.drain.worker import REPORT_TIMEOUT, Worker
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER, quoted
from taskqueue_operator.resource.taskqueue import TaskQueue

from .deadlines import Deadlines

BLOCKED_FOR: Final = timedelta(seconds=10)
"""How long dead letters wait before the status shows it: the operator declares a missing dead-letter queue sooner."""


def blocked_dead_letters(
    taskqueue: TaskQueue, state: TaskQueueState, written: Mapping[str, Any], deadlines: Deadlines
) -> WorkersFault | None:
    """Return the fault while a worker reports that its dead letters wait; `written` is the status as it was written."""
    blocked = [_is_blocked(worker, deadlines) for worker in _reporting_it(state)]
    if not any(blocked) and not _may_still_be(state, written, deadlines):
        return None
    return WorkersFault(Reason.DEAD_LETTERS_BLOCKED, _message(taskqueue))


def _reporting_it(state: TaskQueueState) -> list[Worker]:
    pool = state.drain.pool
    uids = pool.dead_letters_blocked if pool is not None else ()
    return [worker for uid in uids if pool is not None and (worker := pool.worker(uid)) is not None]


def _is_blocked(worker: Worker, deadlines: Deadlines) -> bool:
    since, reported_at = worker.dead_letters_blocked_since, worker.reported_at
    if since is None or reported_at is None or deadlines.has_passed(reported_at + REPORT_TIMEOUT):
        return False
    return deadlines.has_passed(since + BLOCKED_FOR)


def _may_still_be(state: TaskQueueState, written: Mapping[str, Any], deadlines: Deadlines) -> bool:
    """Whether it is too early, after a start, to know that what the status shows has ended."""
    reasons = {condition["type"]: condition["reason"] for condition in written.get("conditions", ())}
    if reasons.get(ConditionType.WORKERS_AVAILABLE) != Reason.DEAD_LETTERS_BLOCKED:
        return False
    connected_at = state.connection.connected_at
    return connected_at is None or not deadlines.has_passed(connected_at + ALL_REPORTED_WITHIN + BLOCKED_FOR)


def _message(taskqueue: TaskQueue) -> str:
    key, target = taskqueue.key, taskqueue.spec.dead_letter
    exchange = target.exchange if target is not None else None
    routing_key = target.routing_key if target is not None else None
    where = quoted(taskqueue.dead_letter_queues if routing_key is None else [routing_key])
    if exchange:
        where = f'exchange "{exchange}" with routing key {where.partition(" ")[2]}'
    return (
        f"Workers hold messages that they cannot process, because no queue confirms their dead letters: {where}. No "
        "message is lost; the workers retry, and run fewer tasks until then. Check that the dead-letter queue exists, "
        "is not full and has a leader, and that the workers' RabbitMQ user may write to the exchange. The reason is in "
        f'the log event "dead letter not stored": kubectl -n {key.namespace} logs -l {LABEL_NAME}={key.name} '
        f"{f'-c {WORKER_CONTAINER}' if taskqueue.owns_deployment else '--all-containers'} --tail=50"
    )
