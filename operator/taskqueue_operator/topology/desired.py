"""The topology that one TaskQueue declares.

    user's exchange --routing keys--> <queue>.in (fanout, private) --> <queue> --dead letters--> <queue>.dlq

Arguments hold only what can never change; every other setting would be a policy. Messages published to the default
exchange bypass `<queue>.in`.
"""

from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT, dead_letter_queue, fence_name, owner, private_exchange
from taskqueue_operator.resource.taskqueue import TaskQueue

from .objects import Argument, Arguments, Binding, Exchange, Queue, Topology

QUEUE_TYPE: Final = "x-queue-type"
MAX_PRIORITY: Final = "x-max-priority"
DEAD_LETTER_EXCHANGE: Final = "x-dead-letter-exchange"
DEAD_LETTER_KEY: Final = "x-dead-letter-routing-key"


def desired(taskqueue: TaskQueue, installation: str) -> Topology:
    """Return the topology of a TaskQueue; empty for an external queue.

    Raises:
        TopologyFault: `spec.exchange.name` is a name that the operator needs for the queue.
    """
    if taskqueue.queue.external:
        return Topology()
    queue, dead_letters = taskqueue.queue_name, dead_letter_queue(taskqueue.queue_name)
    source, private = taskqueue.exchange_name, private_exchange(taskqueue.queue_name)
    if source in {private, fence_name(queue)}:
        raise TopologyFault(
            Reason.INVALID_SPEC,
            f'spec.exchange.name "{source}" is reserved: the operator uses this name for an exchange of queue '
            f'"{queue}". Choose another spec.exchange.name.',
            terminal=True,
        )
    ownership: Arguments = {OWNER_ARGUMENT: owner(installation, taskqueue.key)}
    publishers = {Binding(source, private, to_queue=False, routing_key=key) for key in taskqueue.routing_keys}
    return Topology(
        exchanges={
            source: Exchange(source, taskqueue.exchange.type.lower(), arguments=ownership),
            private: Exchange(private, "fanout", arguments=ownership),
        },
        queues={
            queue: Queue(queue, arguments={**_queue_arguments(taskqueue), **ownership}),
            dead_letters: Queue(dead_letters, arguments={QUEUE_TYPE: taskqueue.queue.type.lower(), **ownership}),
        },
        bindings=frozenset(publishers | {Binding(private, queue, to_queue=True)}),
    )


def _queue_arguments(taskqueue: TaskQueue) -> Arguments:
    arguments: dict[str, Argument] = {
        QUEUE_TYPE: taskqueue.queue.type.lower(),
        # The default exchange, because it needs no binding that could be removed.
        DEAD_LETTER_EXCHANGE: "",
        DEAD_LETTER_KEY: dead_letter_queue(taskqueue.queue_name),
    }
    if taskqueue.queue.max_priority is not None:
        arguments[MAX_PRIORITY] = taskqueue.queue.max_priority
    return arguments
