"""Checks of an external queue: the operator reads it and scales on it, and never declares, changes or deletes it."""

from collections.abc import Callable
from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT, dead_letter_queue
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .desired import QUEUE_TYPE
from .objects import Topology

STREAM: Final = "stream"


def check_external(taskqueue: TaskQueue, actual: Topology, is_declared_by: Callable[[str], bool]) -> None:
    """Check that workers can consume an external queue without harm.

    Args:
        taskqueue: A TaskQueue with an external queue.
        actual: All objects of its vhost.
        is_declared_by: Whether the TaskQueue with this owner argument exists and declares the queue for its workers.

    Raises:
        TopologyFault: The queue is missing or a stream, another TaskQueue scales on it, or workers have no dead-letter
            queue.
    """
    name = taskqueue.queue_name
    queue = actual.queues.get(name)
    if queue is None:
        raise _fault(
            Reason.QUEUE_NOT_FOUND,
            f'External queue "{name}" does not exist. Declare it, correct spec.queue.name or spec.broker.vhost, or '
            "remove external: true to have it created. If the workers declare it, set spec.scaling.minReplicas: 1 "
            "until it exists.",
            terminal=False,
        )
    if queue.arguments.get(QUEUE_TYPE) == STREAM:
        raise _fault(
            Reason.TOPOLOGY_REFUSED,
            f'Queue "{name}" is a stream: messages stay in it after they were consumed, so that its length is no '
            "backlog. Use a Quorum or a Classic queue, for example one that is bound to the same exchange.",
        )
    owner = str(queue.arguments.get(OWNER_ARGUMENT, ""))
    if is_declared_by(owner):
        _, _, key = owner.partition("/")
        raise _fault(
            Reason.NAME_CONFLICT,
            f'Queue "{name}" belongs to TaskQueue {key}: both would start workers for the same messages. '
            f"Delete this TaskQueue, or correct spec.queue.name.",
        )
    if taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE:
        _check_dead_letters(taskqueue, actual)


def _check_dead_letters(taskqueue: TaskQueue, actual: Topology) -> None:
    """Check that a queue keeps what workers cannot process; they wait while they cannot publish it."""
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
    queue = (target.routing_key if target is not None else None) or dead_letter_queue(taskqueue.queue_name)
    if queue not in actual.queues:
        raise _fault(
            Reason.DEAD_LETTER_QUEUE_MISSING,
            f'External queue "{taskqueue.queue_name}" has no dead-letter queue: workers would wait at the first '
            f'message that they cannot process. Declare queue "{queue}" as durable, or set spec.deadLetter.',
            terminal=False,
        )


def _fault(reason: Reason, message: str, *, terminal: bool = True) -> TopologyFault:
    return TopologyFault(reason, message, terminal=terminal)
