"""From what should be and what is to the steps between, and to the faults that no step may mend."""

from collections.abc import Iterator
from dataclasses import dataclass

from taskqueue_operator.resource.names import OWNER_ARGUMENT

from .conflict import check_conflicts
from .consumer_timeout import standing_timeout
from .fence import fence_topology
from .objects import Binding, Exchange, Policy, Queue, Topology


@dataclass(frozen=True, slots=True)
class Declare:
    """Make an object that is missing; for a policy: write it."""

    what: Exchange | Queue | Binding | Policy


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object; one that is gone already counts as removed."""

    what: Exchange | Queue | Binding | Policy


Step = Declare | Remove


def difference(wanted: Topology, there: Topology, *, owner: str) -> tuple[Step, ...]:
    """Find the steps from `there` to `wanted`, in working order; none when nothing differs.

    What carries no mark, or another TaskQueue's, is used when it is equal and never changed.

    Args:
        wanted: What one TaskQueue declares.
        there: What its vhost holds.
        owner: The mark of that TaskQueue.

    Raises:
        TopologyFault: An object is in the way; then there is no step at all.
    """
    check_conflicts(wanted, there, owner=owner)
    return (*_missing(wanted, there), *(Remove(item) for item in _obsolete(wanted, there, owner)))


def _missing(wanted: Topology, there: Topology) -> Iterator[Declare]:
    """Everything from the queue outwards: publishers find a way only when it leads all the way.

    Policies first: they take a right of their own, and without it nothing is begun.
    """
    yield from (Declare(item) for name, item in wanted.policies.items() if there.policies.get(name) != item)
    yield from (Declare(item) for name, item in wanted.exchanges.items() if name not in there.exchanges)
    yield from (Declare(item) for name, item in wanted.queues.items() if name not in there.queues)
    bindings = sorted(wanted.bindings - there.bindings, key=lambda each: (not each.to_queue, each.routing_key))
    yield from (Declare(item) for item in bindings)


def _obsolete(wanted: Topology, there: Topology, owner: str) -> Iterator[Exchange | Queue | Binding | Policy]:
    """What this TaskQueue once made and wants no more: old bindings, and the wall of a deletion that did not end."""
    for way_in in (binding for binding in wanted.bindings if binding.to_queue):
        if is_ours(there.exchanges.get(way_in.source), owner):
            yield from _old_bindings(way_in.source, wanted, there, owner)
        yield from standing(fence_topology(way_in.destination, owner), there, owner)
        yield from (each for each in standing_timeout(way_in.destination, there) if each.name not in wanted.policies)


def _old_bindings(private: str, wanted: Topology, there: Topology, owner: str) -> Iterator[Binding]:
    """Bindings from exchanges of ours only: whoever binds an exchange of their own by hand knows why."""
    for binding in sorted(there.sources.get(private, ()), key=lambda each: (each.source, each.routing_key)):
        source = binding.source in wanted.exchanges or is_ours(there.exchanges.get(binding.source), owner)
        if source and binding not in wanted.bindings:
            yield binding


def standing(made: Topology, there: Topology, owner: str) -> Iterator[Exchange | Queue | Policy]:
    """Pick those of a topology's objects that exist and are ours; bindings go with what they bind.

    A policy carries no mark: it is ours when it says what we would say. Policies come first, so that nothing is led
    to an exchange that is gone.
    """
    yield from (item for name, item in made.policies.items() if there.policies.get(name) == item)
    for name in made.exchanges:
        if (exchange := there.exchanges.get(name)) is not None and is_ours(exchange, owner):
            yield exchange
    for name in made.queues:
        if (queue := there.queues.get(name)) is not None and is_ours(queue, owner):
            yield queue


def is_ours(item: Exchange | Queue | None, owner: str) -> bool:
    """Whether an object carries our mark."""
    return item is not None and item.arguments.get(OWNER_ARGUMENT) == owner
