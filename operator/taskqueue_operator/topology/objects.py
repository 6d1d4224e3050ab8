"""Exchanges, queues and bindings as values that can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

Argument = str | int | bool
Arguments = Mapping[str, Argument]

PRIORITY: Final = 999
"""Of our policies, each of which matches one object of ours: only one policy applies, and this is it."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; `type` in the broker's own spelling (direct, fanout, topic)."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue; its type is the argument `x-queue-type`, as the broker has it (absent means classic)."""

    name: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """A way from an exchange to an exchange or a queue."""

    source: str
    destination: str
    to_queue: bool
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that matches one object by its exact name."""

    name: str
    pattern: str
    apply_to: str
    definition: Mapping[str, Any] = field(default_factory=dict, hash=False)
    priority: int = PRIORITY


@dataclass(frozen=True)
class Topology:
    """What one TaskQueue declares, or what one vhost holds.

    A vhost's topology keeps its objects by name, so that looking one up costs the same in a large vhost, and says
    whether its broker heeds the timeouts that consumers ask for, as RabbitMQ does from 4.3 on.
    """

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: frozenset[Binding] = frozenset()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    supports_consumer_timeout: bool = True

    @cached_property
    def sources(self) -> Mapping[str, tuple[Binding, ...]]:
        """The bindings that lead into each exchange, by its name."""
        into: dict[str, list[Binding]] = {}
        for binding in self.bindings:
            if not binding.to_queue:
                into.setdefault(binding.destination, []).append(binding)
        return {name: tuple(bindings) for name, bindings in into.items()}
