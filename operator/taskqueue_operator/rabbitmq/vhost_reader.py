"""Reads the objects and figures of a vhost from the management API."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from taskqueue_operator.scaling.reading import Sweep
from taskqueue_operator.topology.objects import Arguments, Binding, Exchange, Policy, Queue, Topology

from .management import Management

Version = tuple[int, int]
SLICE: Final = 1000
"""Objects of a listing that are parsed in one piece: about 5 ms."""
SWEEP_TIMEOUT_SECONDS: Final = 4.0
"""Shorter than the sweep period, so that a lost sweep does not delay the next one."""
CONSUMER_TIMEOUT_VERSION: Final[Version] = (4, 3)
"""Since this version, a consumer of a quorum queue may request its timeout; consumers of classic queues have none."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
RUNNING: Final = frozenset({"running", "idle", "flow"})
"""States in which a queue's figures are valid: `flow` throttles publishers, `idle` is `running` in old versions."""


async def read_topology(management: Management) -> Topology:
    """Read all exchanges, queues, bindings and policies: four requests, only the fields that are compared.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    columns = "name,type,durable,auto_delete,arguments,policy"
    exchanges = await management.read("exchanges/{vhost}", disable_stats="true", columns=columns)
    queues = await management.read("queues/{vhost}", disable_stats="true", columns=columns)
    bindings = await management.read("bindings/{vhost}", columns="source,destination,destination_type,routing_key")
    policies = await management.read("policies/{vhost}", columns="name,pattern,apply-to,definition,priority")
    return Topology(
        exchanges={item["name"]: _exchange(item) async for item in _in_slices(exchanges)},
        queues={item["name"]: _queue(item) async for item in _in_slices(queues)},
        # Without the bindings to the default exchange, which every queue has.
        bindings=frozenset([_binding(item) async for item in _in_slices(bindings) if item["source"]]),
        policies={item["name"]: _policy(item) async for item in _in_slices(policies)},
    )


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
        seconds=SWEEP_TIMEOUT_SECONDS,
    )
    sweeps: dict[str, Sweep] = {}
    async for item in _in_slices(items):
        sweep = _sweep(item, at)
        other = sweeps.get(item["name"])
        sweeps[item["name"]] = sweep if other is None else sweep.merge_worst(other)
    return sweeps


async def _in_slices(items: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
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
