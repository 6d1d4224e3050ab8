"""TaskQueues to declare, and a vhost in memory that takes steps as the broker does."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from taskqueue_operator.resource.names import OWNER_ARGUMENT
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.objects import Argument, Binding, Exchange, Policy, Queue, Topology

OURS = "default/media/jobs"
THEIRS = "default/media/other"
Item = TypeVar("Item", bound=Exchange | Queue)


def taskqueue(name: str = "jobs", /, **spec: object) -> TaskQueue:
    """A TaskQueue with the least spec, and what a test adds to it."""
    least = {
        "broker": {"secretRef": {"name": "rabbitmq"}},
        "worker": {"image": "example.org/jobs:1"},
        "scaling": {"maxReplicas": 3},
    }
    metadata = {"namespace": "media", "name": name, "uid": "1", "resourceVersion": "1"}
    return TaskQueue.parse({"metadata": metadata, "spec": least | spec})


def wanted(name: str = "jobs", /, **spec: object) -> Topology:
    return desired(taskqueue(name, **spec), "default")


def marked(item: Item, owner: str | None) -> Item:
    """The same object with another mark, or none."""
    arguments = {key: value for key, value in item.arguments.items() if key != OWNER_ARGUMENT}
    return replace(item, arguments=arguments | ({OWNER_ARGUMENT: owner} if owner else {}))


def with_argument(queue: Queue, **arguments: Argument | None) -> Queue:
    """The same queue with `x_max_length=5` as x-max-length; None takes an argument away."""
    merged = dict(queue.arguments) | {key.replace("_", "-"): value for key, value in arguments.items()}
    return replace(queue, arguments={key: value for key, value in merged.items() if value is not None})


def vhost(*items: Exchange | Queue | Binding | Policy) -> Topology:
    return taken([Declare(item) for item in items], Topology())


def everything(topology: Topology) -> Iterable[Exchange | Queue | Binding | Policy]:
    yield from topology.exchanges.values()
    yield from topology.queues.values()
    yield from topology.bindings
    yield from topology.policies.values()


def taken(steps: Iterable[Step], there: Topology) -> Topology:
    """What a vhost holds after some steps. What exists stays as it is, whatever is declared over it."""
    held: dict[tuple[type, object], Exchange | Queue | Binding | Policy] = {
        _id(item): item for item in everything(there)
    }
    for step in steps:
        if isinstance(step, Remove):
            held.pop(_id(step.what), None)
        elif isinstance(step.what, Policy):
            held[_id(step.what)] = step.what
        else:
            assert not isinstance(step.what, Binding) or _whole(step.what, held), "a binding needs both its ends"
            held.setdefault(_id(step.what), step.what)
        # A binding goes with either of its ends.
        held = {key: item for key, item in held.items() if not isinstance(item, Binding) or _whole(item, held)}
    return Topology(
        exchanges={item.name: item for item in held.values() if isinstance(item, Exchange)},
        queues={item.name: item for item in held.values() if isinstance(item, Queue)},
        bindings=frozenset(item for item in held.values() if isinstance(item, Binding)),
        policies={item.name: item for item in held.values() if isinstance(item, Policy)},
    )


def _id(item: Exchange | Queue | Binding | Policy) -> tuple[type, object]:
    return type(item), item if isinstance(item, Binding) else item.name


def _whole(binding: Binding, held: Mapping[tuple[type, object], object]) -> bool:
    destination = (Queue if binding.to_queue else Exchange, binding.destination)
    return (Exchange, binding.source) in held and destination in held
