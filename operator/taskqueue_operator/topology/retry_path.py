"""How delayed retries return to their queue. Pure.

    delay queue --> taskqueue.return (direct) --name of the queue--> queue
                       `--no such queue--> taskqueue.parking

Workers delay a retry in one of the delay queues of the vhost, which they declare when they need it
(docs/worker-contract.md). Exchanges and parking queue belong to the vhost: they have no owner, and stay when the last
TaskQueue is deleted. RabbitMQ stops a delay queue while 32 of its messages find no queue that takes them. So what has
no queue is parked, and a queue whose length is limited gets a landing queue, which never refuses:

    taskqueue.return --name of the queue--> taskqueue.return.<queue> --as long as it is full, again and again--> queue
"""

from collections.abc import Mapping
from typing import Final

from taskqueue_operator.resource.bounds import UNREACHABLE_DELIVERY_LIMIT
from taskqueue_operator.resource.names import OWNER_ARGUMENT, PARKING, RETURN_EXCHANGE, landing_queue

from .desired import DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY, DELIVERY_LIMIT
from .diff import Remove, Step, diff
from .objects import LENGTH_LIMITS, QUEUE_TYPE, Argument, Binding, Exchange, Queue, Topology

_EXCHANGES: Final[Mapping[str, Exchange]] = {
    PARKING: Exchange(PARKING, "fanout"),
    RETURN_EXCHANGE: Exchange(RETURN_EXCHANGE, "direct", arguments={"alternate-exchange": PARKING}),
}
_QUEUES: Final[Mapping[str, Queue]] = {
    # The limit: RabbitMQ 4.0 to 4.2 drops a message that returned 20 times, and who looks into the queue returns it.
    PARKING: Queue(PARKING, arguments={QUEUE_TYPE: "quorum", DELIVERY_LIMIT: UNREACHABLE_DELIVERY_LIMIT})
}
_PARKING_BINDING: Final = Binding(PARKING, PARKING, to_queue=True)


def parking() -> Topology:
    """Return where messages wait that were delayed, and whose queue does not exist any more."""
    return Topology({PARKING: _EXCHANGES[PARKING]}, _QUEUES, frozenset({_PARKING_BINDING}))


def retry_path(queue: str, owner: str, *, has_limit: bool = False) -> Topology:
    """Return the objects by which retries return to a queue, through a landing queue if its length is limited."""
    destination = landing_queue(queue) if has_limit else queue
    return Topology(
        _EXCHANGES,
        {**_QUEUES, **landing(queue, owner)} if has_limit else _QUEUES,
        frozenset({_PARKING_BINDING, _returning(queue, destination)}),
    )


def retry_steps(queue: str, actual: Topology, *, owner: str, is_limited: bool = False) -> tuple[Step, ...]:
    """Return the steps from the actual retry path of a queue to the desired one.

    Args:
        queue: Name of the queue.
        actual: All objects of its vhost.
        owner: The value of the owner argument of its TaskQueue.
        is_limited: Whether the spec limits its length: its policy may not be applied yet.

    Raises:
        TopologyFault: An object conflicts with the desired one; then no step is returned at all.
    """
    has_limit = return_destination(queue, actual, is_limited=is_limited) != queue
    path = retry_path(queue, owner, has_limit=has_limit)
    both = {_returning(queue, destination) for destination in (queue, landing_queue(queue))}
    return (*diff(path, actual, owner=owner), *map(Remove, (both - path.bindings) & actual.bindings))


def return_destination(queue: str, actual: Topology, *, is_limited: bool) -> str:
    """Return the queue to which delayed messages return: the queue itself, or its landing queue if it may be full."""
    found = actual.queues.get(queue)
    has_limit = is_limited or (found is not None and _has_limit(found, actual))
    return landing_queue(queue) if has_limit else queue


def _has_limit(queue: Queue, actual: Topology) -> bool:
    """Whether a policy limits the length. Before RabbitMQ 4.3 the listing shows only the name of the policy."""
    policy = actual.policies.get(queue.policy or "")
    return queue.has_limit or (policy is not None and not LENGTH_LIMITS.isdisjoint(policy.definition))


def landing(queue: str, owner: str) -> Mapping[str, Queue]:
    """Return the landing queue: its messages go to their queue at once, and stay while that refuses them."""
    arguments: dict[str, Argument] = {
        QUEUE_TYPE: "quorum",
        "x-message-ttl": 0,
        DEAD_LETTER_EXCHANGE: "",
        DEAD_LETTER_KEY: queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        OWNER_ARGUMENT: owner,
    }
    name = landing_queue(queue)
    return {name: Queue(name, arguments=arguments)}


def _returning(queue: str, destination: str) -> Binding:
    return Binding(RETURN_EXCHANGE, destination, to_queue=True, routing_key=queue)
