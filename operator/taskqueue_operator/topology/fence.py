"""The fence of a queue that is being deleted: publishers get nacks, so that no confirmed message is lost.

An alternate exchange of `<queue>.in` leads to a queue of length 0 that rejects publishes. RabbitMQ routes to it only
while the physical queue is not bound. So the fence can be declared before the queue is unbound, and removed after the
queue is bound again.
"""

from typing import Final

from taskqueue_operator.resource.names import OWNER_ARGUMENT, fence_name, private_exchange

from .objects import Arguments, Binding, Exchange, Policy, Queue, Topology, exact_pattern

# Classic, because a quorum queue of length 0 still accepts one message.
REJECT_ALL: Final[Arguments] = {"x-queue-type": "classic", "x-max-length": 0, "x-overflow": "reject-publish"}


def fence_topology(queue: str, owner: str) -> Topology:
    """Return the objects that reject every message published to `<queue>.in`."""
    name = fence_name(queue)
    pattern = exact_pattern(private_exchange(queue))
    return Topology(
        exchanges={name: Exchange(name, "fanout", arguments={OWNER_ARGUMENT: owner})},
        queues={name: Queue(name, arguments={**REJECT_ALL, OWNER_ARGUMENT: owner})},
        bindings=frozenset({Binding(name, name, to_queue=True)}),
        policies={name: Policy(name, pattern, "exchanges", {"alternate-exchange": name})},
    )
