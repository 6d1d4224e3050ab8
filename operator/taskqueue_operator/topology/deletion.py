"""The steps that delete the topology of a TaskQueue: first the fence, then the removal of all owned objects.

Each function computes the next steps from the actual topology alone. So a deletion continues after a crash at any step.
"""

from collections.abc import Iterator

from .consumer_timeout import timeout_policy
from .diff import Remove, Step, diff, is_owned, owned_existing
from .fence import fence_topology
from .objects import Binding, Exchange, Topology


def fence_steps(desired: Topology, actual: Topology, *, owner: str) -> tuple[Step, ...]:
    """Return the next steps until all publishers get nacks; none when they do.

    Call it again with the topology read after each round, until it returns no step. The queue is unbound only in the
    round after the fence was read: a policy needs a moment to reach every node, and a message published in between
    would be lost.

    Raises:
        TopologyFault: An object with the name of the fence exists and is not owned.
    """
    for entry_binding in _entry_bindings(desired, actual, owner):
        fence = fence_topology(entry_binding.destination, owner)
        return diff(fence, actual, owner=owner) or (Remove(entry_binding),)
    return ()


def is_fenced(desired: Topology, actual: Topology, *, owner: str) -> bool:
    """Whether no message can reach the queue through a binding that the operator made."""
    return next(_entry_bindings(desired, actual, owner), None) is None


def removal_steps(desired: Topology, actual: Topology, *, owner: str) -> tuple[Step, ...]:
    """Return the steps that remove all owned objects; none when nothing is left.

    Queues go first, while the fence still rejects publishes. Then the exchanges go, with their bindings, and the fence
    goes last. The publishers' exchange stays while it is bound to any object that is not owned. Queues are removed with
    their messages: the caller must check first that each of them may be deleted.
    """
    entry_bindings = [binding for binding in desired.bindings if binding.to_queue]
    private = {binding.source for binding in entry_bindings}
    topologies = (
        Topology(queues=desired.queues),
        Topology(exchanges=dict(_unshared(desired, actual, owner, private))),
        Topology(exchanges={name: item for name, item in desired.exchanges.items() if name in private}),
        *(fence_topology(binding.destination, owner) for binding in entry_bindings),
    )
    owned = [item for topology in topologies for item in owned_existing(topology, actual, owner)]
    timeouts = (timeout_policy(binding.destination, actual) for binding in entry_bindings)
    return tuple(map(Remove, [*owned, *(policy for policy in timeouts if policy is not None)]))


def _entry_bindings(desired: Topology, actual: Topology, owner: str) -> Iterator[Binding]:
    """The bindings from an owned private exchange to its physical queue."""
    for binding in desired.bindings & actual.bindings:
        if binding.to_queue and is_owned(actual.exchanges.get(binding.source), owner):
            yield binding


def _unshared(desired: Topology, actual: Topology, owner: str, private: set[str]) -> Iterator[tuple[str, Exchange]]:
    """The public exchanges that are bound to owned objects only."""
    shared = {
        binding.source
        for binding in actual.bindings
        if not is_owned((actual.queues if binding.to_queue else actual.exchanges).get(binding.destination), owner)
    }
    for name, exchange in desired.exchanges.items():
        if name not in private | shared:
            yield name, exchange
