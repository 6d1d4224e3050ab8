"""The topology that one TaskQueue declares.

    user's exchange --bindings--> <queue>.in (fanout, private) --> <queue> --dead letters--> <queue>.dlq
    user's exchange --bindings--> <queue>.in (consistent hash) --> <queue>.0, <queue>.1 ... --> <queue>.dlq

Arguments hold what can never change, and what keeps rejected messages, unless the spec has a policy hold that; every
other setting is a policy. Messages published to the default exchange bypass `<queue>.in`.
"""

from typing import Final

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.exchange import DEFAULT_ROUTING_KEYS, ExchangeType
from taskqueue_operator.resource.exchange import Binding as SpecBinding
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import (
    CONTROL_PREFIX,
    DERIVED_SUFFIXES,
    OWNER_ARGUMENT,
    dead_letter_queue,
    fence_name,
    owner,
    private_exchange,
)
from taskqueue_operator.resource.queue import Queue as SpecQueue
from taskqueue_operator.resource.queue import QueueType, SettingsBy
from taskqueue_operator.resource.shards import Shards
from taskqueue_operator.resource.taskqueue import TaskQueue

from .objects import QUEUE_TYPE, Argument, Arguments, Binding, Exchange, Queue, Topology, binding_arguments

CHOSEN: Final = {"x-max-priority": "maxPriority", "x-single-active-consumer": "singleActiveConsumer"}
"""Arguments of a queue that the spec may set, with the fields of spec.queue."""
CONSISTENT_HASH: Final = ExchangeType.CONSISTENT_HASH.on_broker
HASH_HEADER: Final = "hash-header"
"""Argument of a consistent-hash exchange: the header that it hashes instead of the routing key."""
ALTERNATE_EXCHANGE: Final = "alternate-exchange"
DEAD_LETTER_EXCHANGE: Final = "x-dead-letter-exchange"
DEAD_LETTER_KEY: Final = "x-dead-letter-routing-key"
QUORUM_ARGUMENTS: Final[Arguments] = {
    # A rejected message leaves the queue when the dead-letter queue has confirmed it. RabbitMQ does so only together
    # with reject-publish, with which a full queue refuses messages instead of dropping them.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    # Before RabbitMQ 4.3, messages that a drained worker returns count as failed attempts; the default limit is 20.
    "x-delivery-limit": bounds.DELIVERY_LIMIT,
}
"""Settings of Quorum queues. As policies, they need a policy, and the tag `policymaker`, for each queue."""
DELIVERY_LIMIT: Final = "x-delivery-limit"


def desired(taskqueue: TaskQueue, installation: str) -> Topology:
    """Return the topology of a TaskQueue; empty for an external queue.

    Raises:
        TopologyFault: A name in the spec is one that the operator needs.
    """
    if taskqueue.queue.external:
        return Topology()
    _check_names(taskqueue)
    dead_letters = dead_letter_queue(taskqueue.queue_name)
    source, private = taskqueue.exchange_name, private_exchange(taskqueue.queue_name)
    ownership: Arguments = {OWNER_ARGUMENT: owner(installation, taskqueue.key)}
    type_, settings_by = taskqueue.queue.type.lower(), taskqueue.queue.settings_by
    arguments = queue_arguments(dead_letters, type_, _chosen(taskqueue.queue), settings_by)
    alternate = taskqueue.exchange.alternate_exchange
    alternates: Arguments = {} if alternate is None else {ALTERNATE_EXCHANGE: alternate}
    publishers = {_binding(binding, source, private, ownership) for binding in taskqueue.bindings}
    return Topology(
        exchanges={
            source: Exchange(source, taskqueue.exchange.type.on_broker, arguments={**alternates, **ownership}),
            private: _private_exchange(private, taskqueue.queue.shards, ownership),
        },
        queues={
            **{name: Queue(name, arguments={**arguments, **ownership}) for name in taskqueue.declared_queues},
            dead_letters: Queue(dead_letters, arguments={**_dead_letter_arguments(arguments[QUEUE_TYPE]), **ownership}),
        },
        bindings=frozenset(publishers | _entry_bindings(private, taskqueue)),
    )


def _private_exchange(name: str, shards: Shards | None, ownership: Arguments) -> Exchange:
    if shards is None:
        return Exchange(name, "fanout", arguments=ownership)
    header: Arguments = {} if shards.header is None else {HASH_HEADER: shards.header}
    return Exchange(name, CONSISTENT_HASH, arguments={**header, **ownership})


def _entry_bindings(private: str, taskqueue: TaskQueue) -> set[Binding]:
    """Return the bindings to the queue, or with equal shares to all shards."""
    key = "" if taskqueue.queue.shards is None else DEFAULT_ROUTING_KEYS[ExchangeType.CONSISTENT_HASH]
    return {Binding(private, name, to_queue=True, routing_key=key) for name in taskqueue.declared_queues}


def _binding(binding: SpecBinding, source: str, private: str, ownership: Arguments) -> Binding:
    """Return one binding. From the exchange of another TaskQueue or user, only its owner shows that it is obsolete.

    RabbitMQ does not compare the owner with the headers of a message, because its name begins with x-.
    """
    arguments = {**(binding.arguments or {}), **(ownership if binding.exchange is not None else {})}
    return Binding(
        binding.exchange or source,
        private,
        to_queue=False,
        routing_key=binding.routing_key or "",
        arguments=binding_arguments(arguments),
    )


def _chosen(queue: SpecQueue) -> Arguments:
    values = (queue.max_priority, queue.single_active_consumer)
    return {name: value for name, value in zip(CHOSEN, values, strict=True) if value}


def queue_arguments(
    dead_letters: str, queue_type: str, chosen: Arguments, settings_by: SettingsBy = SettingsBy.ARGUMENTS
) -> dict[str, Argument]:
    """Return the arguments of a queue that workers consume, without its owner.

    Args:
        dead_letters: Name of its dead-letter queue.
        queue_type: Type of the queue as RabbitMQ spells it.
        chosen: Those that the spec may set.
        settings_by: Whether what keeps rejected messages is an argument.
    """
    settings = settings_arguments(dead_letters, queue_type) if settings_by is SettingsBy.ARGUMENTS else {}
    return {QUEUE_TYPE: queue_type, **settings, **chosen}


def settings_arguments(dead_letters: str, queue_type: str) -> Arguments:
    """Return what keeps the rejected messages of a queue, as arguments; a policy can hold the same settings."""
    # The default exchange, because it needs no binding that could be removed.
    keeping: Arguments = {DEAD_LETTER_EXCHANGE: "", DEAD_LETTER_KEY: dead_letters}
    return {**keeping, **QUORUM_ARGUMENTS} if queue_type == QueueType.QUORUM.lower() else keeping


def _dead_letter_arguments(queue_type: Argument) -> dict[str, Argument]:
    arguments = {QUEUE_TYPE: queue_type}
    if queue_type == QueueType.QUORUM.lower():
        # RabbitMQ 4.0 to 4.2 drops a message that returned 20 times: who lists dead letters would delete them.
        arguments[DELIVERY_LIMIT] = bounds.UNREACHABLE_DELIVERY_LIMIT
    return arguments


def _check_names(taskqueue: TaskQueue) -> None:
    queue, source = taskqueue.queue_name, taskqueue.exchange_name
    fields = {"spec.queue.name": queue, "spec.exchange.name": source}
    reserved = [field for field, name in fields.items() if name.startswith(CONTROL_PREFIX)]
    if taskqueue.exchange.name is not None:  # an existing exchange of this name may be a user's
        del fields["spec.exchange.name"]
    reserved += [field for field, name in fields.items() if name.endswith(DERIVED_SUFFIXES)]
    if not reserved and source in {private_exchange(queue), fence_name(queue)}:
        reserved = ["spec.exchange.name"]
    if reserved:
        name = queue if "spec.queue.name" in reserved else source
        raise TopologyFault(
            Reason.INVALID_SPEC,
            f'Name "{name}" is reserved: names that begin with "{CONTROL_PREFIX}" or end in '
            f"{', '.join(DERIVED_SUFFIXES)} are those of the operator's own objects. "
            f"Choose another {' and '.join(reserved)}.",
            terminal=True,
        )
