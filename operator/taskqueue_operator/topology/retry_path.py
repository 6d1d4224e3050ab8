"""How delayed retries return to their queue. Pure.

    delay queue --> taskqueue.return (direct) --name of the queue--> queue
                       `--no such queue--> taskqueue.parking

Workers delay a retry in one of the delay queues of the vhost, which they declare when they need it
(docs/worker-contract.md). Exchanges and parking queue belong to the vhost: they have no owner, and stay when the last
TaskQueue is deleted. Without the parking queue, one message that cannot be routed would stay in its delay queue for
ever, and 32 of them would stop it.
"""

from collections.abc import Mapping
from typing import Final

from taskqueue_operator.resource.names import PARKING, RETURN_EXCHANGE

from .desired import QUEUE_TYPE
from .objects import Binding, Exchange, Queue, Topology

_EXCHANGES: Final[Mapping[str, Exchange]] = {
    PARKING: Exchange(PARKING, "fanout"),
    RETURN_EXCHANGE: Exchange(RETURN_EXCHANGE, "direct", arguments={"alternate-exchange": PARKING}),
}
_QUEUES: Final[Mapping[str, Queue]] = {PARKING: Queue(PARKING, arguments={QUEUE_TYPE: "quorum"})}
_PARKING_BINDING: Final = Binding(PARKING, PARKING, to_queue=True)


def retry_path(queue: str) -> Topology:
    """Return the objects by which retries return to a queue."""
    returning = Binding(RETURN_EXCHANGE, queue, to_queue=True, routing_key=queue)
    return Topology(_EXCHANGES, _QUEUES, frozenset({_PARKING_BINDING, returning}))
