"""Exchanges, queues, bindings and policies as values that can be compared."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, TypeVar

from .versions import CONSUMER_TIMEOUT_VERSION, DELAYED_RETRIES_VERSION, Version

Item = TypeVar("Item")

Argument = str | int | bool
Arguments = Mapping[str, Argument]

POLICY_PRIORITY: Final = 999
"""RabbitMQ applies only the matching policy with the highest priority; this priority makes it the operator's."""
QUEUE_TYPE: Final = "x-queue-type"
CLASSIC: Final = "classic"
"""The type of a queue without the argument `x-queue-type`."""
LENGTH_LIMITS: Final = frozenset({"max-length", "max-length-bytes"})
"""Settings of a policy with which a queue may refuse messages."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; `type` is spelled as RabbitMQ spells it (direct, x-consistent-hash).

    Attributes:
        policy: Name of the policy that the broker applies to it.
    """

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)
    policy: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue.

    Attributes:
        policy: Name of the policy that the broker applies to it.
        has_limit: Whether the broker shows that its length is limited, so that it may refuse messages (RabbitMQ 4.3).
        delayed: Which returned messages the broker delays (`delayed-retry-type`); None if none.
    """

    name: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)
    policy: str | None = field(default=None, compare=False)
    has_limit: bool = field(default=False, compare=False)
    delayed: str | None = field(default=None, compare=False)

    @property
    def type(self) -> str:
        """The type as RabbitMQ spells it (quorum, classic, stream)."""
        return str(self.arguments.get(QUEUE_TYPE, CLASSIC))


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding from an exchange to another exchange or to a queue.

    Attributes:
        arguments: Names and values, sorted by name. Bindings with other arguments are other bindings, as in RabbitMQ.
    """

    source: str
    destination: str
    to_queue: bool
    routing_key: str = ""
    arguments: tuple[tuple[str, Argument], ...] = ()


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
        version: Version of the broker; the one that the operator is developed on if it was not read.
        digest: Of what was read from the broker: equal digests mean equal objects. Empty if it is unknown.
    """

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: frozenset[Binding] = frozenset()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    version: Version = field(default=DELAYED_RETRIES_VERSION, compare=False)
    digest: bytes = field(default=b"", compare=False)

    @property
    def size(self) -> int:
        """The number of objects."""
        return len(self.exchanges) + len(self.queues) + len(self.bindings) + len(self.policies)

    @property
    def supports_consumer_timeout(self) -> bool:
        """Whether the broker applies a timeout that a consumer requests."""
        return self.version >= CONSUMER_TIMEOUT_VERSION

    @cached_property
    def bindings_to_exchange(self) -> Mapping[str, Sequence[Binding]]:
        """The exchange-to-exchange bindings, by the name of their destination."""
        return _grouped(filter(lambda binding: not binding.to_queue, self.bindings), attrgetter("destination"))

    @cached_property
    def bindings_to_queue(self) -> Mapping[str, Sequence[Binding]]:
        """The bindings to queues, by the name of the queue."""
        return _grouped(filter(lambda binding: binding.to_queue, self.bindings), attrgetter("destination"))

    @cached_property
    def bindings_from(self) -> Mapping[str, Sequence[Binding]]:
        """The bindings, by the name of their source."""
        return _grouped(self.bindings, attrgetter("source"))

    @cached_property
    def policies_by_pattern(self) -> Mapping[str, Sequence[Policy]]:
        """The policies, by their pattern. A pattern is compared as text, never evaluated: the broker evaluates it."""
        return _grouped(self.policies.values(), attrgetter("pattern"))


def binding_arguments(arguments: Arguments) -> tuple[tuple[str, Argument], ...]:
    """Return the arguments of a binding as it holds them: names are unique, so values are never compared."""
    return tuple(sorted(arguments.items()))


def _grouped(items: Iterable[Item], name: Callable[[Item], str]) -> Mapping[str, Sequence[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return groups


def exact_pattern(name: str) -> str:
    """Return a policy pattern that matches this name alone."""
    return "^" + "".join(char if char.isalnum() or char in "-_" else f"\\{char}" for char in name) + "$"
