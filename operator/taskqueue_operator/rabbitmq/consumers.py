"""Reads the connections of a vhost, the queues that they consume and the messages that they hold.

A user with the tag `management` can read its own connections only. Reading all connections needs the tag `monitoring`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from taskqueue_operator.drain.consumers import Connection, ConsumerSnapshot, normalize_address

from .management import Management

OPERATION: Final = "read the consumers of its queues"
_CHANNEL_PROTOCOL: Final = "AMQP 0-9-1"
"""RabbitMQ lists all channels of this protocol: a connection without a channel holds no message."""
_POD_NAME: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")

Items = list[dict[str, Any]]


async def read_consumers(management: Management, clock: Callable[[], datetime]) -> ConsumerSnapshot:
    """Read all consumers, channels and connections of the vhost: three requests.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    at = clock()
    consumers = await management.read(
        "consumers/{vhost}", operation=OPERATION, columns="queue.name,ack_required,channel_details.connection_name"
    )
    channels = await management.read(
        "vhosts/{vhost}/channels", operation=OPERATION, columns="connection_details.name,messages_unacknowledged"
    )
    connections = await management.read(
        "vhosts/{vhost}/connections", operation=OPERATION, columns="name,peer_host,user_provided_name,protocol"
    )
    queues, unacked = _queues_by_connection(consumers), _unacked_by_connection(channels)
    return ConsumerSnapshot(at, tuple(_connection(item, queues, unacked) for item in connections))


def _connection(
    item: Mapping[str, Any], queues: Mapping[str, Mapping[str, bool]], unacked: Mapping[str, int | None]
) -> Connection:
    name = item.get("name", "")
    held = unacked.get(name, _unacked_without_channel(item))
    return Connection(_identifiers(item), queues.get(name, {}), held, name)


def _queues_by_connection(consumers: Items) -> Mapping[str, Mapping[str, bool]]:
    """Return by connection and queue whether all consumers there acknowledge messages."""
    acknowledging: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for item in consumers:
        queues, queue = acknowledging[_connection_name(item, "channel_details", "connection_name")], item["queue"]
        queues[queue["name"]] = queues.get(queue["name"], True) and item["ack_required"]
    return acknowledging


def _unacked_by_connection(channels: Items) -> Mapping[str, int | None]:
    """Sum up the unacked messages by connection; None if any channel has no figure yet."""
    unacked: dict[str, int | None] = {}
    for item in channels:
        name, count = _connection_name(item, "connection_details", "name"), item.get("messages_unacknowledged")
        total = unacked.get(name, 0)
        unacked[name] = None if count is None or total is None else total + count
    return unacked


def _unacked_without_channel(connection: Mapping[str, Any]) -> int | None:
    return 0 if connection.get("protocol") == _CHANNEL_PROTOCOL else None


def _identifiers(connection: Mapping[str, Any]) -> frozenset[str]:
    """Return the peer address, and each part of the client's connection name that may be a pod name."""
    names = _POD_NAME.findall(connection.get("user_provided_name") or "")
    return frozenset({normalize_address(connection.get("peer_host") or ""), *names} - {""})


def _connection_name(item: Mapping[str, Any], details: str, field: str) -> str:
    # Consumers of other protocols have an empty list there.
    found = item.get(details) or {}
    return str(found.get(field, ""))
