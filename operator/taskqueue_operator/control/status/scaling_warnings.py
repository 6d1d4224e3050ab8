"""What is wrong while the number of workers follows the queue: scaling goes on, and only the user can mend it."""

from collections.abc import Iterator
from typing import Final

from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import quoted
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.referenced import environment_missing, unsafe

PREFETCH_PER_CONCURRENCY: Final = 4
"""Above this prefetch per concurrency, the status says what it means."""
ADVICE: Final = frozenset({Reason.READY, Reason.DEPLOYMENT_UNSAFE})
"""Reasons that give way to what blocks a scale-in now."""


def scaling_warning(taskqueue: TaskQueue, deployment: Deployment | None, state: TaskQueueState) -> Fault | None:
    """Return the first thing that is wrong; None if nothing is."""
    return next(_warnings(taskqueue, deployment, state), None)


def _warnings(taskqueue: TaskQueue, deployment: Deployment | None, state: TaskQueueState) -> Iterator[Fault]:
    if deployment is not None:
        yield from _of_workers(taskqueue, deployment, state)
    if full := _full(taskqueue, state):
        are_full = f"{quoted(full)} {'is' if len(full) == 1 else 'are'} full"
        yield Fault(
            Reason.QUEUE_FULL,
            f"With spec.queue.maxLength ({taskqueue.queue.max_length}), {are_full}: RabbitMQ refuses new "
            "messages, and publishers with confirms get nacks. What is refused starts no worker. Raise maxLength or "
            "spec.scaling.maxReplicas, or have publishers wait and publish again.",
        )
    if state.reconcile.delays_returned:
        yield Fault(
            Reason.RETURNED_DELAYED,
            f"{state.reconcile.delays_returned}: messages that a worker gives back when it is removed wait, although "
            "other workers could take them. Set the type failed, which delays only what is rejected.",
        )
    others = state.drain.other_queues
    if others:
        yield Fault(
            Reason.OTHER_QUEUES_CONSUMED,
            f"Its workers also consume {quoted(others)}. Only messages in "
            f"{quoted(state.queue_names(taskqueue))} start workers: others may wait at zero workers. Write a "
            "TaskQueue for each queue, whose workers consume that queue alone.",
        )
    if state.scaling.is_stalled:
        yield Fault(
            Reason.NOTHING_FINISHED,
            f"The number of messages has not fallen for longer than taskTimeoutSeconds, although maxReplicas "
            f"({taskqueue.spec.scaling.max_replicas}) workers hold messages, and more messages wait. Tasks with an ETA "
            "or a countdown hold a worker until they are due, and tasks that hang do for ever. Publish a task when it "
            "is due, give tasks a time limit, or raise maxReplicas.",
        )
    if deployment is not None and (danger := unsafe(taskqueue, deployment)) is not None:
        yield danger
    prefetch = taskqueue.spec.worker.prefetch
    if isinstance(prefetch, int) and prefetch > PREFETCH_PER_CONCURRENCY * taskqueue.spec.worker.concurrency:
        yield Fault(
            Reason.READY,
            "The number of workers follows the queue. spec.worker.prefetch is far above concurrency: a worker holds "
            "tasks that wait for it while other workers may be idle. For tasks of more than a second, leave it out.",
        )


def _of_workers(taskqueue: TaskQueue, deployment: Deployment, state: TaskQueueState) -> Iterator[Fault]:
    interruption = state.drain.interruption
    if interruption is not None and interruption.template_hash == deployment.template_hash:
        yield Fault(
            Reason.WORKERS_INTERRUPTED,
            f"Worker {interruption.pod.name} {interruption.what}. If it ran a task, that was cut and is done again. "
            "Let the process handle SIGTERM: stop consuming, finish the task, acknowledge it, exit with code 0.",
        )
    if (missing := environment_missing(taskqueue, deployment)) is not None:
        yield missing


def _full(taskqueue: TaskQueue, state: TaskQueueState) -> tuple[str, ...]:
    """Return the queues that refuse new messages, as far as the number of messages says it."""
    limit, queues = taskqueue.queue.refuses_from, state.queues(taskqueue)
    return queues.holding(limit) if limit is not None and queues is not None else ()
