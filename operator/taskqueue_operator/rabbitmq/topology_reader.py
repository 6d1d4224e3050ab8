"""Reads the exchanges, queues, bindings and policies of a vhost from the management API."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from taskqueue_operator.topology.delayed_retries import TYPE
from taskqueue_operator.topology.objects import (
    LENGTH_LIMITS,
    Argument,
    Arguments,
    Binding,
    Exchange,
    Policy,
    Queue,
    Topology,
    binding_arguments,
)

from .definitions_tag import DefinitionsTag
from .known_listings import KnownListings
from .listing import Items, in_slices
from .management import Management

Item = TypeVar("Item")
BINDING_COLUMNS: Final = "source,destination,destination_type,routing_key,arguments"


class TopologyReader:
    """Reads again only what has changed, as far as the broker tells; parses only listings that have changed."""

    def __init__(self, management: Management, known: KnownListings) -> None:
        self._management = management
        self._known = known
        self._tag = DefinitionsTag(management)
        self._digests: tuple[bytes, ...] = ()

    async def read(self, *, conditionally: bool) -> Topology:
        """Read all objects: four requests, only the fields that are compared.

        Args:
            conditionally: Ask first whether anything has changed, if the broker answers that.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        if conditionally and await self._tag.is_unchanged() and (parts := self._known.recall(self._digests)):
            return self._topology(parts)
        columns = {"disable_stats": "true", "columns": "name,type,durable,auto_delete,arguments,policy"}
        queue_columns = {**columns, "columns": f"{columns['columns']},effective_policy_definition"}
        found = (
            await self._part("exchanges", _by_name(_exchange), **columns),
            await self._part("queues", _by_name(_queue), **queue_columns),
            await self._part("bindings", _bindings, columns=BINDING_COLUMNS),
            await self._part("policies", _by_name(_policy), columns="name,pattern,apply-to,definition,priority"),
        )
        self._digests = tuple(digest for digest, _ in found)
        return self._topology([part for _, part in found])

    def _topology(self, parts: Sequence[Any]) -> Topology:
        exchanges, queues, bindings, policies = parts
        return Topology(exchanges, queues, bindings, policies, digest=b"".join(self._digests))

    async def _part(self, kind: str, build: Callable[[Items], Awaitable[Any]], **query: str) -> tuple[bytes, Any]:
        """Read one kind of objects; return the digest of the listing, and the objects."""
        text = await self._management.read_text(f"{kind}/{{vhost}}", **query)

        async def parse() -> Any:  # noqa: ANN401  the objects of any kind
            return await build(await self._management.parse(text))

        return await self._known.find(kind, text, parse)


def _by_name(build: Callable[[dict[str, Any]], Item]) -> Callable[[Items], Awaitable[dict[str, Item]]]:
    async def build_all(items: Items) -> dict[str, Item]:
        return {item["name"]: build(item) async for item in in_slices(items)}

    return build_all


async def _bindings(items: Items) -> frozenset[Binding]:
    # Without the bindings to the default exchange, which every queue has.
    return frozenset([binding(item) async for item in in_slices(items) if item["source"]])


def _exchange(item: dict[str, Any]) -> Exchange:
    return Exchange(
        item["name"],
        item["type"],
        durable=item["durable"],
        auto_delete=item["auto_delete"],
        arguments=_arguments(item["arguments"]),
        policy=item.get("policy"),
    )


def _queue(item: dict[str, Any]) -> Queue:
    # Before 4.0, a queue declared without the argument shows its type in this field only.
    arguments = {**_arguments(item["arguments"]), "x-queue-type": item.get("type", "classic")}
    policy = item.get("effective_policy_definition") or {}
    return Queue(
        item["name"],
        durable=item["durable"],
        auto_delete=item["auto_delete"],
        arguments=arguments,
        policy=item.get("policy"),
        has_limit=not LENGTH_LIMITS.isdisjoint(policy),
        delayed=str(delayed) if (delayed := arguments.get("x-delayed-retry-type") or policy.get(TYPE)) else None,
    )


def binding(item: dict[str, Any]) -> Binding:
    """Return a binding of a listing."""
    return Binding(
        item["source"],
        item["destination"],
        to_queue=item["destination_type"] == "queue",
        routing_key=item["routing_key"],
        arguments=_headers(item["arguments"]) if item["arguments"] else (),
    )


def _headers(raw: dict[str, Any]) -> tuple[tuple[str, Argument], ...]:
    """Keep the types that headers of a spec have; any other value differs from each of them, and true from 1."""
    return binding_arguments(
        {
            name: value if isinstance(value, str) or type(value) is int else f"{type(value).__name__} {value}"
            for name, value in raw.items()
        }
    )


def _policy(item: dict[str, Any]) -> Policy:
    return Policy(item["name"], item["pattern"], item["apply-to"], item["definition"], item["priority"])


def _arguments(raw: dict[str, Any]) -> Arguments:
    """Keep the types that the operator's arguments have; any other value becomes text, and so differs."""
    return {name: value if isinstance(value, str | int) else str(value) for name, value in raw.items()}
