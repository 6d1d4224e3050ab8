"""Who is connected to a vhost, what they consume and what they hold, read over the management API.

A user with the tag `management` sees only the connections of its own; all of them take the tag `monitoring`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from taskqueue_operator.drain.consumers import Connection, ConsumerSnapshot, normalize_address

from .management import Management

ACT: Final = "see who consumes its queues"
_CHANNELS: Final = "AMQP 0-9-1"
"""The protocol of which the channels are listed, and all of them: without one a connection holds nothing."""
_WORD: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
"""What the name of a pod looks like."""

Items = list[dict[str, Any]]


async def read_look(management: Management, clock: Callable[[], datetime]) -> ConsumerSnapshot:
    """List all consumers, channels and connections of the vhost: three requests.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    at = clock()
    consumers = await management.read(
        "consumers/{vhost}", act=ACT, columns="queue.name,ack_required,channel_details.connection_name"
    )
    channels = await management.read(
        "vhosts/{vhost}/channels", act=ACT, columns="connection_details.name,messages_unacknowledged"
    )
    connections = await management.read(
        "vhosts/{vhost}/connections", act=ACT, columns="name,peer_host,user_provided_name,protocol"
    )
    consumed, held = _consumed(consumers), _held(channels)
    named = ((each.get("name", ""), each) for each in connections)
    return ConsumerSnapshot(
        at, tuple(Connection(_marks(each), consumed.get(name, {}), held.get(name, _rest(each))) for name, each in named)
    )


def _consumed(consumers: Items) -> Mapping[str, Mapping[str, bool]]:
    """Say by connection and queue whether all its consumers acknowledge."""
    consumed: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for each in consumers:
        queues, queue = consumed[_detail(each, "channel_details", "connection_name")], each["queue"]["name"]
        queues[queue] = queues.get(queue, True) and each["ack_required"]
    return consumed


def _held(channels: Items) -> Mapping[str, int | None]:
    """Add up by connection what its channels hold; a channel without a figure leaves none for the whole."""
    held: dict[str, int | None] = {}
    for each in channels:
        name, unacked = _detail(each, "connection_details", "name"), each.get("messages_unacknowledged")
        before = held.get(name, 0)
        held[name] = None if unacked is None or before is None else before + unacked
    return held


def _rest(connection: Mapping[str, Any]) -> int | None:
    """Say what a connection holds of which no channel is listed."""
    return 0 if connection.get("protocol") == _CHANNELS else None


def _marks(connection: Mapping[str, Any]) -> frozenset[str]:
    words = _WORD.findall(connection.get("user_provided_name") or "")
    return frozenset({normalize_address(connection.get("peer_host") or ""), *words} - {""})


def _detail(item: Mapping[str, Any], details: str, field: str) -> str:
    """Name the connection; consumers of other protocols have an empty list there."""
    found = item.get(details) or {}
    return str(found.get(field, ""))
