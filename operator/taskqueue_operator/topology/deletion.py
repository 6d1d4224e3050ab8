"""How a TaskQueue's topology goes: first a wall, then, once the queue may go, what carries our mark.

Every step may be the last one before a crash: `fence` and `removal` look at what is there and go on from it.
"""

from collections.abc import Iterator

from .consumer_timeout import standing_timeout
from .diff import Remove, Step, difference, is_ours, standing
from .fence import fence_topology
from .objects import Binding, Exchange, Topology


def fence(wanted: Topology, there: Topology, *, owner: str) -> tuple[Step, ...]:
    """Find the next steps towards publishers that are refused; none when they are.

    To be called, with `there` read anew, until it returns nothing: the queue is unbound only after the wall was seen
    standing, since a policy takes a moment to reach every node, and a message between the two would be lost.

    Raises:
        TopologyFault: An object that is not ours has the name of the wall.
    """
    for way_in in _open_ways_in(wanted, there, owner):
        wall = fence_topology(way_in.destination, owner)
        return difference(wall, there, owner=owner) or (Remove(way_in),)
    return ()


def fenced(wanted: Topology, there: Topology, *, owner: str) -> bool:
    """Whether no message can arrive any more by the ways that we made."""
    return next(_open_ways_in(wanted, there, owner), None) is None


def removal(wanted: Topology, there: Topology, *, owner: str) -> tuple[Step, ...]:
    """Find the steps that remove what is ours; none when nothing is left.

    Queues go first, while publishers are still refused by the wall; then the exchanges, with their bindings; the wall
    last. The publishers' exchange stays while it leads to anything that is not ours. The queues go with what they
    hold: the caller takes these steps only when every queue among them may go.
    """
    ways_in = [binding for binding in wanted.bindings if binding.to_queue]
    private = {way_in.source for way_in in ways_in}
    queues = Topology(queues=wanted.queues)
    publishers = Topology(exchanges=dict(_unshared(wanted, there, owner, private)))
    inlets = Topology(exchanges={name: item for name, item in wanted.exchanges.items() if name in private})
    walls = (fence_topology(way_in.destination, owner) for way_in in ways_in)
    made = (queues, publishers, inlets, *walls)
    timeouts = (policy for way_in in ways_in for policy in standing_timeout(way_in.destination, there))
    return tuple(map(Remove, [*(item for each in made for item in standing(each, there, owner)), *timeouts]))


def _open_ways_in(wanted: Topology, there: Topology, owner: str) -> Iterator[Binding]:
    for binding in wanted.bindings & there.bindings:
        if binding.to_queue and is_ours(there.exchanges.get(binding.source), owner):
            yield binding


def _unshared(wanted: Topology, there: Topology, owner: str, private: set[str]) -> Iterator[tuple[str, Exchange]]:
    """The exchanges of ours that lead nowhere but to ourselves."""
    shared = {
        binding.source
        for binding in there.bindings
        if not is_ours((there.queues if binding.to_queue else there.exchanges).get(binding.destination), owner)
    }
    for name, exchange in wanted.exchanges.items():
        if name not in private | shared:
            yield name, exchange
