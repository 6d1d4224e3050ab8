"""What a TaskQueue has adopted: objects without an owner that match its spec, while its private exchange is its own.

Arguments cannot change, so an adopted object never gets a mark. Adoption follows from the spec and the broker alone
(docs/adr/0017).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT

from .conflict import RESERVED_PREFIX, check_conflicts
from .diff import is_owned
from .objects import Exchange, Queue, Topology

Item = TypeVar("Item", Exchange, Queue)


def with_adopted(desired: Topology, actual: Topology, *, owner: str) -> Topology:
    """Return the actual topology, in which each object that the TaskQueue has adopted carries its owner.

    Raises:
        TopologyFault: An object does not match: nothing is adopted.
    """
    if not all(is_owned(actual.exchanges.get(name), owner) for name in _private(desired)):
        return actual
    check_conflicts(desired, actual, owner=owner)
    exchanges = {item.name: _owned(item, owner) for item in unmarked_exchanges(desired, actual)}
    queues = {item.name: _owned(item, owner) for item in unmarked_queues(desired, actual)}
    return replace(actual, exchanges={**actual.exchanges, **exchanges}, queues={**actual.queues, **queues})


def check_adoption(desired: Topology, actual: Topology) -> None:
    """Check that the private exchange can show which TaskQueue adopts.

    Raises:
        TopologyFault: It exists without an owner.
    """
    for name in _private(desired):
        exchange = actual.exchanges.get(name)
        if exchange is not None and OWNER_ARGUMENT not in exchange.arguments:
            raise TopologyFault(
                Reason.NAME_CONFLICT,
                f'Exchange "{name}" has no owner, and the operator adopts only a queue that its own exchange leads to. '
                "Stop the publishers and delete this exchange: the operator declares it again. Or set "
                "adoptionPolicy: Never.",
                terminal=True,
            )


def unmarked_exchanges(desired: Topology, actual: Topology) -> Iterator[Exchange]:
    """Return the existing exchanges for publishers that no operator has created, except those of RabbitMQ."""
    names = desired.exchanges.keys() - _private(desired)
    found = (actual.exchanges[name] for name in sorted(names & actual.exchanges.keys()))
    yield from (item for item in found if _is_unmarked(item) and not item.name.startswith(RESERVED_PREFIX))


def unmarked_queues(desired: Topology, actual: Topology) -> Iterator[Queue]:
    """Return the existing queues of a TaskQueue that no operator has created."""
    yield from filter(_is_unmarked, (actual.queues[name] for name in desired.queues if name in actual.queues))


def _private(desired: Topology) -> set[str]:
    return {binding.source for binding in desired.bindings if binding.to_queue}


def _is_unmarked(item: Exchange | Queue) -> bool:
    return OWNER_ARGUMENT not in item.arguments


def _owned(item: Item, owner: str) -> Item:
    return replace(item, arguments={**item.arguments, OWNER_ARGUMENT: owner})
