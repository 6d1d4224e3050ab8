"""What one TaskQueue wants on the broker.

    user's exchange --routing keys--> <queue>.in (fanout, private) --> <queue> --dead letters--> <queue>.dlq

Arguments hold only what can never change; everything else would be a policy. Publishers that use the default exchange
bypass `<queue>.in`.
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
    """Say what a TaskQueue declares; nothing for an external queue.

    Raises:
        TopologyFault: The exchange has a name that the queue needs for itself.
    """
    if taskqueue.queue.external:
        return Topology()
    queue, source, private = taskqueue.queue_name, taskqueue.exchange_name, private_exchange(taskqueue.queue_name)
    if source in {private, fence_name(queue)}:
        raise TopologyFault(
            Reason.INVALID_SPEC,
            f'spec.exchange.name "{source}" is the private exchange of queue "{queue}". Choose another.',
            terminal=True,
        )
    mark: Arguments = {OWNER_ARGUMENT: owner(installation, taskqueue.key)}
    publishers = {Binding(source, private, to_queue=False, routing_key=key) for key in taskqueue.routing_keys}
    return Topology(
        exchanges={
            source: Exchange(source, taskqueue.exchange.type.lower(), arguments=mark),
            private: Exchange(private, "fanout", arguments=mark),
        },
        queues={
            queue: Queue(queue, arguments={**_queue_arguments(taskqueue), **mark}),
            dead_letter_queue(queue): Queue(
                dead_letter_queue(queue), arguments={QUEUE_TYPE: taskqueue.queue.type.lower(), **mark}
            ),
        },
        bindings=frozenset(publishers | {Binding(private, queue, to_queue=True)}),
    )


def _queue_arguments(taskqueue: TaskQueue) -> Arguments:
    arguments: dict[str, Argument] = {
        QUEUE_TYPE: taskqueue.queue.type.lower(),
        # Through the default exchange, which needs no binding that could be lost.
        DEAD_LETTER_EXCHANGE: "",
        DEAD_LETTER_KEY: dead_letter_queue(taskqueue.queue_name),
    }
    if taskqueue.queue.max_priority is not None:
        arguments[MAX_PRIORITY] = taskqueue.queue.max_priority
    return arguments
