"""A vhost in memory that applies steps as RabbitMQ does."""

from collections.abc import Iterable, Mapping

from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology

Object = Exchange | Queue | Binding | Policy


def vhost_with(*items: Object) -> Topology:
    return apply_steps([Declare(item) for item in items], Topology())


def all_objects(topology: Topology) -> Iterable[Object]:
    yield from topology.exchanges.values()
    yield from topology.queues.values()
    yield from topology.bindings
    yield from topology.policies.values()


def apply_steps(steps: Iterable[Step], actual: Topology) -> Topology:
    """Return the vhost after some steps. Declaring over an existing exchange or queue leaves it unchanged."""
    held: dict[tuple[type, object], Object] = {_id(item): item for item in all_objects(actual)}
    for step in steps:
        if isinstance(step, Remove):
            held.pop(_id(step.item), None)
        elif isinstance(step.item, Policy):
            held[_id(step.item)] = step.item
        else:
            assert not isinstance(step.item, Binding) or _has_both_ends(step.item, held), "a binding needs both ends"
            held.setdefault(_id(step.item), step.item)
        # RabbitMQ removes a binding together with either of its ends.
        held = {key: item for key, item in held.items() if not isinstance(item, Binding) or _has_both_ends(item, held)}
    return Topology(
        exchanges={item.name: item for item in held.values() if isinstance(item, Exchange)},
        queues={item.name: item for item in held.values() if isinstance(item, Queue)},
        bindings=frozenset(item for item in held.values() if isinstance(item, Binding)),
        policies={item.name: item for item in held.values() if isinstance(item, Policy)},
    )


def _id(item: Object) -> tuple[type, object]:
    return type(item), item if isinstance(item, Binding) else item.name


def _has_both_ends(binding: Binding, held: Mapping[tuple[type, object], object]) -> bool:
    destination = (Queue if binding.to_queue else Exchange, binding.destination)
    return (Exchange, binding.source) in held and destination in held
