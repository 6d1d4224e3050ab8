"""The wall before a queue that is to go: publishers get nacks instead of silent loss.

An alternate exchange on `<queue>.in` leads to a queue of length 0 that rejects publishes. It is out of use as long as
the physical queue is bound, so it may stand before the queue is unbound and fall after the queue is bound again.
"""

from typing import Final

from taskqueue_operator.resource.names import OWNER_ARGUMENT, fence_name, private_exchange

from .objects import Arguments, Binding, Exchange, Policy, Queue, Topology

# Classic, because a quorum queue of length 0 lets one message in.
REFUSES: Final[Arguments] = {"x-queue-type": "classic", "x-max-length": 0, "x-overflow": "reject-publish"}


def fence_topology(queue: str, mark: str) -> Topology:
    """Say what refuses messages at `<queue>.in`."""
    name = fence_name(queue)
    return Topology(
        exchanges={name: Exchange(name, "fanout", arguments={OWNER_ARGUMENT: mark})},
        queues={name: Queue(name, arguments={**REFUSES, OWNER_ARGUMENT: mark})},
        bindings=frozenset({Binding(name, name, to_queue=True)}),
        policies={name: Policy(name, exactly(private_exchange(queue)), "exchanges", {"alternate-exchange": name})},
    )


def exactly(name: str) -> str:
    """Write a pattern that matches this name alone."""
    return "^" + "".join(char if char.isalnum() or char in "-_" else f"\\{char}" for char in name) + "$"
