"""Checks of external queues: the operator reads and scales on them, and never declares, changes or deletes them."""

from collections.abc import Callable
from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT, dead_letter_queue, quoted
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .objects import Queue, Topology

STREAM: Final = "stream"


def check_external(taskqueue: TaskQueue, actual: Topology, is_declared: Callable[[str, str], bool]) -> None:
    """Check that workers can consume the external queues without harm.

    Args:
        taskqueue: A TaskQueue with external queues.
        actual: All objects of its vhost.
        is_declared: Whether a queue is one that the TaskQueue with an owner argument declares for its workers.

    Raises:
        TopologyFault: A queue is missing or a stream, another TaskQueue scales on it, or workers have no dead-letter
            queue.
    """
    names = taskqueue.queue_names
    missing = [name for name in names if name not in actual.queues]
    if missing:
        do = "do" if len(missing) > 1 else "does"
        raise _fault(
            Reason.QUEUE_NOT_FOUND,
            f"External {quoted(missing)} {do} not exist. Declare what is missing, or correct {_field(taskqueue)} or "
            "spec.broker.vhost. If the workers declare it, set spec.scaling.minReplicas: 1 until it exists.",
            terminal=False,
        )
    for name in names:
        _check_backlog(actual.queues[name], _field(taskqueue), is_declared)
    if taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE:
        _check_dead_letters(taskqueue, actual)


def _field(taskqueue: TaskQueue) -> str:
    return "spec.queue.name" if taskqueue.spec.external_queues is None else "spec.externalQueues"


def _check_backlog(queue: Queue, field: str, is_declared: Callable[[str, str], bool]) -> None:
    """Check that the length of a queue says how many workers of this TaskQueue are needed."""
    if queue.type == STREAM:
        raise _fault(
            Reason.TOPOLOGY_REFUSED,
            f'Queue "{queue.name}" is a stream: messages stay in it after they were consumed, so that its length is no '
            "backlog. Use a Quorum or a Classic queue, for example one that is bound to the same exchange.",
        )
    owner = str(queue.arguments.get(OWNER_ARGUMENT, ""))
    if is_declared(queue.name, owner):
        _, _, key = owner.partition("/")
        raise _fault(
            Reason.NAME_CONFLICT,
            f'Queue "{queue.name}" belongs to TaskQueue {key}: both would start workers for the same messages. '
            f"Delete this TaskQueue, or correct {field}.",
        )


def _check_dead_letters(taskqueue: TaskQueue, actual: Topology) -> None:
    """Check that queues keep what workers cannot process; they wait while they cannot publish it."""
    target = taskqueue.spec.dead_letter
    if target is not None and target.exchange:
        if not actual.bindings_from.get(target.exchange):
            raise _fault(
                Reason.DEAD_LETTER_QUEUE_MISSING,
                f'Exchange "{target.exchange}" of spec.deadLetter leads to no queue: workers would wait at the first '
                "message that they cannot process. Declare the exchange and bind a durable queue to it.",
                terminal=False,
            )
        return
    shared = target.routing_key if target is not None else None
    queues = {name: shared or dead_letter_queue(name) for name in taskqueue.queue_names}
    without = [name for name, dead_letters in queues.items() if dead_letters not in actual.queues]
    if without:
        missing = sorted({queues[name] for name in without})
        raise _fault(
            Reason.DEAD_LETTER_QUEUE_MISSING,
            f"No dead-letter queue for external {quoted(without)}: workers would wait at the first message that they "
            f"cannot process. Declare {quoted(missing)} as durable, or set spec.deadLetter.",
            terminal=False,
        )


def _fault(reason: Reason, message: str, *, terminal: bool = True) -> TopologyFault:
    return TopologyFault(reason, message, terminal=terminal)
