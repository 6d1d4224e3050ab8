"""A vhost in memory that applies steps as RabbitMQ does."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

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
    return apply_policies(
        Topology(
            exchanges={item.name: item for item in held.values() if isinstance(item, Exchange)},
            queues={item.name: item for item in held.values() if isinstance(item, Queue)},
            bindings=frozenset(item for item in held.values() if isinstance(item, Binding)),
            policies={item.name: item for item in held.values() if isinstance(item, Policy)},
        )
    )


def apply_policies(actual: Topology) -> Topology:
    """Return the vhost with the policy of each exchange and queue as RabbitMQ lists it."""

    def applied(name: str, *kinds: str) -> str | None:
        matching = [
            item for item in actual.policies.values() if item.apply_to in kinds and re.search(item.pattern, name)
        ]
        return max(matching, key=lambda policy: policy.priority).name if matching else None

    queues = {
        name: replace(queue, policy=applied(name, "all", "queues", f"{queue.arguments.get('x-queue-type')}_queues"))
        for name, queue in actual.queues.items()
    }
    exchanges = {
        name: replace(exchange, policy=applied(name, "all", "exchanges")) for name, exchange in actual.exchanges.items()
    }
    return replace(actual, queues=queues, exchanges=exchanges)


def routed(exchange: str, key: str, actual: Topology) -> set[str]:
    """Return the queues that a message reaches, each once, as RabbitMQ routes to them."""
    found = actual.exchanges[exchange]
    bindings = [
        binding
        for binding in actual.bindings_from.get(exchange, ())
        if found.type == "fanout" or binding.routing_key == key
    ]
    policy = actual.policies.get(found.policy or "")
    alternate = policy.definition.get("alternate-exchange") if policy is not None else None
    alternate = found.arguments.get("alternate-exchange", alternate)
    if not bindings and alternate in actual.exchanges:
        return routed(str(alternate), key, actual)
    reached = [
        {binding.destination} if binding.to_queue else routed(binding.destination, key, actual) for binding in bindings
    ]
    return set().union(*reached)


def _id(item: Object) -> tuple[type, object]:
    return type(item), item if isinstance(item, Binding) else item.name


def _has_both_ends(binding: Binding, held: Mapping[tuple[type, object], object]) -> bool:
    destination = (Queue if binding.to_queue else Exchange, binding.destination)
    return (Exchange, binding.source) in held and destination in held
