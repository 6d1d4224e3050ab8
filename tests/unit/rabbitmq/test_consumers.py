"""Consumer snapshots from listings that a real broker rarely shows."""

from datetime import UTC, datetime
from typing import Any, cast

from taskqueue_operator.drain.consumers import Connection
from taskqueue_operator.rabbitmq.consumers import read_consumers
from taskqueue_operator.rabbitmq.management import Management

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "10.0.0.1:50000 -> 10.0.0.9:5672"
CHANNEL = {"connection_details": {"name": NAME}, "messages_unacknowledged": 0}
CONSUMER = {"queue": {"name": "celery"}, "ack_required": True, "channel_details": {"connection_name": NAME}}
CONNECTION = {"name": NAME, "peer_host": "10.0.0.1", "protocol": "AMQP 0-9-1"}

Items = list[dict[str, Any]]


class _Listings:
    """Stands in for the management API: a real broker cannot be made to list a channel without a figure."""

    def __init__(self, **listings: Items) -> None:
        self._listings = listings

    async def read(self, path: str, **_query: str) -> Items:
        return next(items for kind, items in self._listings.items() if kind in path)


async def connections_of(
    consumers: Items | None = None, channels: Items | None = None, connections: Items | None = None
) -> tuple[Connection, ...]:
    listings = _Listings(
        consumers=[CONSUMER] if consumers is None else consumers,
        channels=[CHANNEL] if channels is None else channels,
        connections=connections or [CONNECTION],
    )
    return (await read_consumers(cast("Management", listings), lambda: NOW)).connections


async def test_a_connection_sums_up_its_channels_and_combines_its_consumers() -> None:
    channels: Items = [CHANNEL | {"messages_unacknowledged": count} for count in (1, 2)]
    no_ack = CONSUMER | {"ack_required": False}
    for consumers in ([CONSUMER, no_ack], [no_ack, CONSUMER]):
        (connection,) = await connections_of(consumers, channels)
        assert connection == Connection(frozenset({"10.0.0.1"}), {"celery": False}, 3)


async def test_a_channel_without_a_figure_makes_the_sum_unknown() -> None:
    without_figure: dict[str, Any] = {"connection_details": {"name": NAME}}
    for channels in ([without_figure, CHANNEL], [CHANNEL, without_figure]):
        (connection,) = await connections_of(channels=channels)
        assert connection.unacked is None


async def test_a_connection_without_a_channel_holds_no_message() -> None:
    (connection,) = await connections_of(channels=[])
    assert connection.unacked == 0


async def test_a_connection_of_another_protocol_may_hold_messages_without_a_channel() -> None:
    (connection,) = await connections_of(channels=[], connections=[CONNECTION | {"protocol": "AMQP 1-0"}])
    assert connection.unacked is None


async def test_a_connection_without_peer_address_and_name_has_no_identifier() -> None:
    stream = CONSUMER | {"channel_details": []}
    direct = {"name": "<rabbit@one.1.2.3>", "user_provided_name": None}
    connections = await connections_of([CONSUMER, stream], connections=[CONNECTION, direct, {"state": "starting"}])
    assert [connection.identifiers for connection in connections] == [{"10.0.0.1"}, set(), set()]


async def test_each_part_of_the_connection_name_may_be_a_pod_name() -> None:
    name = "celery@jobs-7d9c-x2x4z: Consumer_1/media.jobs"
    (connection,) = await connections_of(connections=[CONNECTION | {"user_provided_name": name}])
    assert connection.identifiers >= {"celery", "jobs-7d9c-x2x4z", "media.jobs"}
