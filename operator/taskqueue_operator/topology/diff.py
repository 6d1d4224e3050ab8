"""Computes the steps from the actual topology to the desired one."""

from collections.abc import Iterator
from dataclasses import dataclass

from taskqueue_operator.resource.names import OWNER_ARGUMENT, private_exchange

from .conflict import check_conflicts, divides
from .desired import CONSISTENT_HASH
from .fence import fence_topology
from .objects import Arguments, Binding, Exchange, Policy, Queue, Topology
from .queue_policies import queue_policies


@dataclass(frozen=True, slots=True)
class Declare:
    """Create a missing object; a policy is also overwritten."""

    item: Exchange | Queue | Binding | Policy


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object; an object that is already gone counts as removed."""

    item: Exchange | Queue | Binding | Policy


Step = Declare | Remove


def diff(desired: Topology, actual: Topology, *, owner: str) -> tuple[Step, ...]:
    """Return the steps from `actual` to `desired` in working order; none when nothing differs.

    An object without owner, or with another owner, is used if it is equal, and never changed.

    Args:
        desired: The objects that one TaskQueue declares.
        actual: All objects of its vhost.
        owner: The value of the owner argument of that TaskQueue.

    Raises:
        TopologyFault: An object conflicts with the desired one; then no step is returned at all.
    """
    check_conflicts(desired, actual, owner=owner)
    obsolete = [(item, _is_share(item, actual)) for item in _obsolete(desired, actual, owner)]
    shares = (Remove(item) for item, is_share in obsolete if is_share)
    others = (Remove(item) for item, is_share in obsolete if not is_share)
    return (*shares, *_missing(desired, actual), *others)


def _is_share(item: Exchange | Queue | Binding | Policy, actual: Topology) -> bool:
    """Whether an obsolete object is a binding from a ConsistentHash exchange.

    RabbitMQ keeps one share for each destination there. Removed after the new binding, the old one takes it along.
    """
    source = actual.exchanges.get(item.source) if isinstance(item, Binding) else None
    return source is not None and source.type == CONSISTENT_HASH


def _missing(desired: Topology, actual: Topology) -> Iterator[Declare]:
    """Bindings from the queue outwards: a message that enters the exchange always reaches the queue.

    Policies come first: they need a permission of their own, and without it nothing must be created. So do exchanges
    that need a plugin.
    """
    yield from (Declare(item) for name, item in desired.policies.items() if actual.policies.get(name) != item)
    exchanges = (item for name, item in desired.exchanges.items() if name not in actual.exchanges)
    yield from map(Declare, sorted(exchanges, key=lambda exchange: exchange.type != CONSISTENT_HASH))
    yield from (Declare(item) for name, item in desired.queues.items() if name not in actual.queues)
    missing = desired.bindings - actual.bindings
    yield from map(Declare, sorted(missing, key=lambda binding: (not binding.to_queue, *_order(binding))))


def _obsolete(desired: Topology, actual: Topology, owner: str) -> Iterator[Exchange | Queue | Binding | Policy]:
    """Objects that this TaskQueue created and no longer declares: old bindings, the fence of a cancelled deletion."""
    for private in sorted({binding.source for binding in desired.bindings if binding.to_queue}):
        queue = private.removesuffix(private_exchange(""))
        if private != private_exchange(queue):
            continue
        if is_owned(actual.exchanges.get(private), owner):
            yield from _old_bindings(private, desired, actual, owner)
            yield from _foreign_shares(private, desired, actual)
        yield from owned_existing(fence_topology(queue, owner), actual, owner)
        fed = sorted(binding.destination for binding in desired.bindings if binding.source == private)
        yield from (policy for policy in queue_policies(queue, actual, fed) if policy.name not in desired.policies)


def _old_bindings(private: str, desired: Topology, actual: Topology, owner: str) -> Iterator[Binding]:
    """Only owned bindings and those from owned exchanges; one that a user made from another exchange stays."""
    for binding in sorted(actual.bindings_to_exchange.get(private, ()), key=_order):
        ours = binding.source in desired.exchanges or is_owned(actual.exchanges.get(binding.source), owner)
        if (ours or _owner(dict(binding.arguments)) == owner) and binding not in desired.bindings:
            yield binding


def _foreign_shares(private: str, desired: Topology, actual: Topology) -> Iterator[Binding]:
    """Bindings of others that take a share of the messages from the shards: no worker would receive these messages."""
    if divides(desired, private):
        shards = {binding.destination for binding in desired.bindings if binding.source == private}
        others = (item for item in actual.bindings_from.get(private, ()) if item.destination not in shards)
        yield from sorted(others, key=_order)


def _order(binding: Binding) -> tuple[str, ...]:
    return binding.source, binding.destination, binding.routing_key, str(binding.arguments)


def owned_existing(topology: Topology, actual: Topology, owner: str) -> Iterator[Exchange | Queue | Policy]:
    """Return the exchanges, queues and policies of a topology that exist and are owned.

    Bindings are left out: RabbitMQ removes them with their exchange or queue. A policy cannot carry an owner: it counts
    as owned if it is equal. Policies come first, so that no policy routes to an exchange that is gone.
    """
    yield from (policy for name, policy in topology.policies.items() if actual.policies.get(name) == policy)
    for name in topology.exchanges:
        if (exchange := actual.exchanges.get(name)) is not None and is_owned(exchange, owner):
            yield exchange
    for name in topology.queues:
        if (queue := actual.queues.get(name)) is not None and is_owned(queue, owner):
            yield queue


def is_owned(item: Exchange | Queue | None, owner: str) -> bool:
    """Whether an object exists and carries this owner."""
    return item is not None and _owner(item.arguments) == owner


def is_of_installation(item: Exchange | Queue | None, owner: str) -> bool:
    """Whether an object exists and was created for any TaskQueue of the installation of this owner."""
    found = _owner(item.arguments) if item is not None else None
    return isinstance(found, str) and found.partition("/")[0] == owner.partition("/")[0]


def _owner(arguments: Arguments) -> object:
    return arguments.get(OWNER_ARGUMENT)
