"""Reads the objects and figures of a vhost from the management API."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from taskqueue_operator.scaling.reading import Sweep
from taskqueue_operator.topology.objects import Arguments, Binding, Exchange, Policy, Queue, Topology

from .known_listings import KnownListings
from .management import Management

Item = TypeVar("Item")
Items = Sequence[dict[str, Any]]
Version = tuple[int, int]
SLICE: Final = 1000
"""Objects of a listing that are parsed in one piece: about 5 ms."""
CONSUMER_TIMEOUT_VERSION: Final[Version] = (4, 3)
"""Since this version, a consumer of a quorum queue may request its timeout; consumers of classic queues have none."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
RUNNING: Final = frozenset({"running", "idle", "flow"})
"""States in which a queue's figures are valid: `flow` throttles publishers, `idle` is `running` in old versions."""


async def read_topology(management: Management, known: KnownListings) -> Topology:
    """Read all exchanges, queues, bindings and policies: four requests, only the fields that are compared.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    read = partial(_read_part, management, known)
    columns = {"disable_stats": "true", "columns": "name,type,durable,auto_delete,arguments,policy"}
    digests, parts = zip(
        await read("exchanges", _by_name(_exchange), **columns),
        await read("queues", _by_name(_queue), **columns),
        await read("bindings", _bindings, columns="source,destination,destination_type,routing_key"),
        await read("policies", _by_name(_policy), columns="name,pattern,apply-to,definition,priority"),
        strict=True,
    )
    return Topology(*parts, digest=b"".join(digests))


async def _read_part(
    management: Management, known: KnownListings, kind: str, build: Callable[[Items], Awaitable[Any]], **query: str
) -> tuple[bytes, Any]:
    """Read one kind of objects; return the digest of the listing, and the objects."""
    text = await management.read_text(f"{kind}/{{vhost}}", **query)

    async def parse() -> Any:  # noqa: ANN401  the objects of any kind
        return await build(await management.parse(text))

    return await known.find(kind, text, parse)


async def read_version(management: Management) -> Version:
    """Read the version of RabbitMQ as (major, minor); (0, 0) if it is unknown.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    overview = await management.read_overview("rabbitmq_version")
    version = _VERSION.match(str(overview.get("rabbitmq_version")))
    return (int(version[1]), int(version[2])) if version is not None else (0, 0)


async def read_sweep(management: Management, clock: Callable[[], datetime]) -> Mapping[str, Sweep]:
    """Read the figures of every queue, without pagination: one page would cost the broker as much as the whole list.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    at = clock()
    items = await management.read(
        "queues/{vhost}",
        disable_stats="true",
        enable_queue_totals="true",
        columns="name,state,messages,messages_ready,messages_unacknowledged",
    )
    sweeps: dict[str, Sweep] = {}
    async for item in _in_slices(items):
        sweep = _sweep(item, at)
        other = sweeps.get(item["name"])
        sweeps[item["name"]] = sweep if other is None else sweep.merge_worst(other)
    return sweeps


def _by_name(build: Callable[[dict[str, Any]], Item]) -> Callable[[Items], Awaitable[dict[str, Item]]]:
    async def build_all(items: Items) -> dict[str, Item]:
        return {item["name"]: build(item) async for item in _in_slices(items)}

    return build_all


async def _bindings(items: Items) -> frozenset[Binding]:
    # Without the bindings to the default exchange, which every queue has.
    return frozenset([_binding(item) async for item in _in_slices(items) if item["source"]])


async def _in_slices(items: Items) -> AsyncIterator[dict[str, Any]]:
    """Iterate over a listing; other tasks run after each slice."""
    for number, item in enumerate(items):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        yield item


def _sweep(item: dict[str, Any], at: datetime) -> Sweep:
    total, ready, unacked = (item.get(f"messages{state}") for state in ("", "_ready", "_unacknowledged"))
    return Sweep(
        at,
        present=True,
        running=item.get("state") in RUNNING,
        minority=item.get("state") == "minority",
        ready=ready,
        unacked=unacked,
        # No figure of the listing counts them, but the total includes them.
        deferred=None if total is None or ready is None or unacked is None else max(0, total - ready - unacked),
    )


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
    return Queue(
        item["name"],
        durable=item["durable"],
        auto_delete=item["auto_delete"],
        arguments=arguments,
        policy=item.get("policy"),
    )


def _binding(item: dict[str, Any]) -> Binding:
    return Binding(
        item["source"],
        item["destination"],
        to_queue=item["destination_type"] == "queue",
        routing_key=item["routing_key"],
    )


def _policy(item: dict[str, Any]) -> Policy:
    return Policy(item["name"], item["pattern"], item["apply-to"], item["definition"], item["priority"])


def _arguments(raw: dict[str, Any]) -> Arguments:
    """Keep the types that the operator's arguments have; any other value becomes text, and so differs."""
    return {name: value if isinstance(value, str | int) else str(value) for name, value in raw.items()}
