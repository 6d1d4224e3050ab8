"""Exchanges, queues, bindings and policies as values that can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

Argument = str | int | bool
Arguments = Mapping[str, Argument]

POLICY_PRIORITY: Final = 999
"""RabbitMQ applies only the matching policy with the highest priority; this priority makes it the operator's."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; `type` is spelled as RabbitMQ spells it (direct, fanout, topic)."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue; its type is the argument `x-queue-type`, as in RabbitMQ (absent means classic)."""

    name: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding from an exchange to another exchange or to a queue."""

    source: str
    destination: str
    to_queue: bool
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; those of the operator match one object by its exact name."""

    name: str
    pattern: str
    apply_to: str
    definition: Mapping[str, Any] = field(default_factory=dict, hash=False)
    priority: int = POLICY_PRIORITY


@dataclass(frozen=True)
class Topology:
    """The objects that one TaskQueue declares, or all objects of one vhost.

    Objects are kept by name, so that a lookup costs the same in a large vhost.

    Attributes:
        supports_consumer_timeout: Whether the broker applies a timeout that a consumer requests (RabbitMQ >= 4.3).
    """

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: frozenset[Binding] = frozenset()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    supports_consumer_timeout: bool = True

    @cached_property
    def bindings_to_exchange(self) -> Mapping[str, tuple[Binding, ...]]:
        """The exchange-to-exchange bindings, by the name of their destination."""
        grouped: dict[str, list[Binding]] = {}
        for binding in self.bindings:
            if not binding.to_queue:
                grouped.setdefault(binding.destination, []).append(binding)
        return {name: tuple(bindings) for name, bindings in grouped.items()}


def exact_pattern(name: str) -> str:
    """Return a policy pattern that matches this name alone."""
    return "^" + "".join(char if char.isalnum() or char in "-_" else f"\\{char}" for char in name) + "$"
