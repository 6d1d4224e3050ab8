"""How tasks that Celery delays, those with a countdown or an ETA, wait on the broker and reach their queue. Pure.

    celery_delayed_27 --bit 1--> queue celery_delayed_27, 2^27 s --> celery_delayed_26
                      --bit 0--------------------------------------> celery_delayed_26 ... celery_delayed_0
    celery_delayed_0 --> celery_delayed_delivery --28 bits and the routing key--> queue, or its landing queue
                                  `--a queue that the operator has deleted--> taskqueue.parking

These are the names and arguments of kombu (`kombu.transport.native_delayed_delivery`): Celery 5.5 and newer publish to
`celery_delayed_27` with the delay in binary before the routing key. With another argument, a Celery that declares them
too would get a 406, and would not bind its queues. The objects belong to the vhost: they have no owner, and stay when
the last TaskQueue is deleted. RabbitMQ stops the queue of a level while 32 of its messages find no queue that takes
them. So tasks of a deleted queue are parked, and a queue whose length is limited gets its landing queue.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import (
    CELERY_DELIVERY,
    CELERY_LEVELS,
    PARKING,
    celery_routing_key,
    landing_queue,
)

from .desired import DEAD_LETTER_EXCHANGE
from .diff import Declare, Remove, Step, diff
from .objects import QUEUE_TYPE, Binding, Exchange, Queue, Topology
from .retry_path import landing, parking, return_destination

TIME_TO_LIVE: Final = "x-message-ttl"
_LEVELS: Final = range(len(CELERY_LEVELS))


def celery_delays(queue: str, owner: str, *, has_limit: bool = False) -> Topology:
    """Return the objects by which delayed tasks return to a queue, through a landing queue if its length is limited."""
    destination = landing_queue(queue) if has_limit else queue
    return Topology(
        {**parking().exchanges, **_EXCHANGES},
        {**parking().queues, **_QUEUES, **(landing(queue, owner) if has_limit else {})},
        parking().bindings | _BINDINGS | {_delivering(queue, destination)},
    )


def celery_delay_steps(queue: str, actual: Topology, *, owner: str, is_limited: bool = False) -> tuple[Step, ...]:
    """Return the steps from what delays the tasks of a queue to what should.

    Args:
        queue: Name of the queue.
        actual: All objects of its vhost.
        owner: The value of the owner argument of its TaskQueue.
        is_limited: Whether the spec limits its length: its policy may not be applied yet.

    Raises:
        TopologyFault: An object of that name would lose messages; then no step is returned at all.
    """
    is_landing = return_destination(queue, actual, is_limited=is_limited) != queue
    desired = celery_delays(queue, owner, has_limit=is_landing and not _is_bound_by_celery(queue, actual))
    former = {_delivering(queue, destination) for destination in (queue, landing_queue(queue), PARKING)}
    steps = diff(_without_existing(desired, actual), actual, owner=owner)
    return (*steps, *map(Remove, (former - desired.bindings) & actual.bindings))


def parking_steps(queue: str, actual: Topology) -> tuple[Step, ...]:
    """Return the steps before the removal of a queue: tasks that are delayed for it go to the parking queue."""
    delivering = {_delivering(queue, destination) for destination in (queue, landing_queue(queue))}
    parked = _delivering(queue, PARKING)
    is_due = delivering & actual.bindings and PARKING in actual.queues and parked not in actual.bindings
    return (Declare(parked),) if is_due else ()


def _is_bound_by_celery(queue: str, actual: Topology) -> bool:
    """Whether a Celery that may declare leads delayed tasks to the queue; through a landing queue, they would double.

    Where both ways end in the queue itself, RabbitMQ delivers a task once.
    """
    return any(binding.routing_key == f"#.{queue}" for binding in actual.bindings_from.get(CELERY_DELIVERY, ()))


def _without_existing(desired: Topology, actual: Topology) -> Topology:
    """Return the desired topology without the levels that exist: Celery may have declared them as Classic queues."""
    exchanges = {name: actual.exchanges[name] for name in (*CELERY_LEVELS, CELERY_DELIVERY) if name in actual.exchanges}
    queues = {name: actual.queues[name] for name in CELERY_LEVELS if name in actual.queues}
    for name in (*_unfit_exchanges(exchanges), *_unfit_queues(queues)):
        raise TopologyFault(
            Reason.IMMUTABLE_DRIFT,
            f"{name} is not as Celery declares it, and would lose delayed tasks. Delete it, a queue only when it is "
            "empty: the operator declares it again. Or remove spec.queue.delayedDelivery.",
            terminal=True,
        )
    return replace(
        desired,
        exchanges={name: item for name, item in desired.exchanges.items() if name not in exchanges},
        queues={name: item for name, item in desired.queues.items() if name not in queues},
    )


def _unfit_exchanges(exchanges: Mapping[str, Exchange]) -> Iterator[str]:
    for name, found in exchanges.items():
        if found.type != "topic" or not found.durable or found.auto_delete:
            yield f'Exchange "{name}"'


def _unfit_queues(queues: Mapping[str, Queue]) -> Iterator[str]:
    needed = (TIME_TO_LIVE, DEAD_LETTER_EXCHANGE)
    for name, found in queues.items():
        is_fit = all(found.arguments.get(key) == _QUEUES[name].arguments[key] for key in needed)
        if not is_fit or not found.durable or found.auto_delete:
            yield f'Queue "{name}"'


def _next(level: int) -> str:
    return CELERY_LEVELS[level - 1] if level else CELERY_DELIVERY


def _level_queue(level: int) -> Queue:
    arguments = {
        QUEUE_TYPE: "quorum",
        "x-overflow": "reject-publish",
        TIME_TO_LIVE: 2**level * 1000,
        DEAD_LETTER_EXCHANGE: _next(level),
        "x-dead-letter-strategy": "at-least-once",
    }
    return Queue(CELERY_LEVELS[level], arguments=arguments)


def _level_bindings(level: int) -> Iterator[Binding]:
    """What waits for this bit, and what does not: the first word of the routing key is the bit of the highest level."""
    name, before = CELERY_LEVELS[level], "*." * (_LEVELS[-1] - level)
    yield Binding(name, name, to_queue=True, routing_key=f"{before}1.#")
    yield Binding(name, _next(level), to_queue=False, routing_key=f"{before}0.#")


def _delivering(queue: str, destination: str) -> Binding:
    """Exactly 28 words before the name: with `#`, the queue `a` would also get what is for the queue `b.a`."""
    return Binding(CELERY_DELIVERY, destination, to_queue=True, routing_key=celery_routing_key(queue))


_EXCHANGES: Final[Mapping[str, Exchange]] = {
    name: Exchange(name, "topic") for name in (*CELERY_LEVELS, CELERY_DELIVERY)
}
_QUEUES: Final[Mapping[str, Queue]] = {CELERY_LEVELS[level]: _level_queue(level) for level in _LEVELS}
_BINDINGS: Final = frozenset(binding for level in _LEVELS for binding in _level_bindings(level))
