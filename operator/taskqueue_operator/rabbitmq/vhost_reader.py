"""What a vhost holds, read over the management API."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from taskqueue_operator.scaling.reading import Sweep
from taskqueue_operator.topology.objects import Arguments, Binding, Exchange, Policy, Queue, Topology

from .management import Management

Version = tuple[int, int]
HEEDS_CONSUMERS: Final[Version] = (4, 3)
"""Since when consumers of quorum queues may ask for a timeout of their own; those of classic queues have none then."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
RUNNING: Final = frozenset({"running", "idle", "flow"})
"""States in which a queue's figures count; `flow` throttles publishers, `idle` is what old brokers call running."""


async def read_topology(management: Management) -> Topology:
    """Read all exchanges, queues, bindings and policies: four requests, of the fields that are compared.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    columns = "name,type,durable,auto_delete,arguments"
    exchanges = await management.read("exchanges/{vhost}", disable_stats="true", columns=columns)
    queues = await management.read("queues/{vhost}", disable_stats="true", columns=columns)
    bindings = await management.read("bindings/{vhost}", columns="source,destination,destination_type,routing_key")
    policies = await management.read("policies/{vhost}", columns="name,pattern,apply-to,definition,priority")
    return Topology(
        exchanges={item["name"]: _exchange(item) for item in exchanges},
        queues={item["name"]: _queue(item) for item in queues},
        # Every queue is bound to the default exchange, by its name, for ever.
        bindings=frozenset(_binding(item) for item in bindings if item["source"]),
        policies={item["name"]: _policy(item) for item in policies},
    )


async def read_version(management: Management) -> Version:
    """Read which RabbitMQ it is, as (major, minor); zeros when it does not say.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    overview = await management.read_overview("rabbitmq_version")
    said = _VERSION.match(str(overview.get("rabbitmq_version")))
    return (int(said[1]), int(said[2])) if said is not None else (0, 0)


async def read_sweep(management: Management, clock: Callable[[], datetime]) -> Mapping[str, Sweep]:
    """List every queue with its figures, unpaginated: each page would cost the broker as much as the whole.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    at = clock()
    items = await management.read(
        "queues/{vhost}",
        disable_stats="true",
        enable_queue_totals="true",
        columns="name,state,messages_ready,messages_unacknowledged",
    )
    sweeps: dict[str, Sweep] = {}
    for item in items:
        sweep = _sweep(item, at)
        other = sweeps.get(item["name"])
        sweeps[item["name"]] = sweep if other is None else sweep.merge_worst(other)
    return sweeps


def _sweep(item: dict[str, Any], at: datetime) -> Sweep:
    return Sweep(
        at,
        present=True,
        running=item.get("state") in RUNNING,
        minority=item.get("state") == "minority",
        ready=item.get("messages_ready"),
        unacked=item.get("messages_unacknowledged"),
    )


def _exchange(item: dict[str, Any]) -> Exchange:
    return Exchange(
        item["name"],
        item["type"],
        durable=item["durable"],
        auto_delete=item["auto_delete"],
        arguments=_arguments(item["arguments"]),
    )


def _queue(item: dict[str, Any]) -> Queue:
    # Before 4.0 a queue made without the argument shows its type in this field only.
    arguments = {**_arguments(item["arguments"]), "x-queue-type": item.get("type", "classic")}
    return Queue(item["name"], durable=item["durable"], auto_delete=item["auto_delete"], arguments=arguments)


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
    """Keep what our own arguments may be; what is anything else shows as text, and so as a difference."""
    return {name: value if isinstance(value, str | int) else str(value) for name, value in raw.items()}
