"""What a look makes of the listings, where a real broker shows it too seldom."""

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
    """No broker can be told to show a channel before it has counted anything there."""

    def __init__(self, **listings: Items) -> None:
        self._listings = listings

    async def read(self, path: str, **_query: str) -> Items:
        return next(items for kind, items in self._listings.items() if kind in path)


async def look(
    consumers: Items | None = None, channels: Items | None = None, connections: Items | None = None
) -> tuple[Connection, ...]:
    listings = _Listings(
        consumers=[CONSUMER] if consumers is None else consumers,
        channels=[CHANNEL] if channels is None else channels,
        connections=connections or [CONNECTION],
    )
    return (await read_consumers(cast("Management", listings), lambda: NOW)).connections


async def test_a_connection_is_what_all_its_channels_and_consumers_are() -> None:
    channels: Items = [CHANNEL | {"messages_unacknowledged": count} for count in (1, 2)]
    careless = CONSUMER | {"ack_required": False}
    for consumers in ([CONSUMER, careless], [careless, CONSUMER]):
        (connection,) = await look(consumers, channels)
        assert connection == Connection(frozenset({"10.0.0.1"}), {"celery": False}, 3)


async def test_a_channel_without_a_figure_leaves_none_for_the_whole() -> None:
    young: dict[str, Any] = {"connection_details": {"name": NAME}}
    for channels in ([young, CHANNEL], [CHANNEL, young]):
        (connection,) = await look(channels=channels)
        assert connection.unacked is None


async def test_without_a_channel_a_connection_holds_nothing() -> None:
    (connection,) = await look(channels=[])
    assert connection.unacked == 0


async def test_unless_what_it_holds_is_not_listed_by_channels() -> None:
    (connection,) = await look(channels=[], connections=[CONNECTION | {"protocol": "AMQP 1-0"}])
    assert connection.unacked is None


async def test_what_consumes_by_another_protocol_or_has_no_peer_is_nobodys() -> None:
    stream = CONSUMER | {"channel_details": []}
    direct = {"name": "<rabbit@one.1.2.3>", "user_provided_name": None}
    connections = await look([CONSUMER, stream], connections=[CONNECTION, direct, {"state": "starting"}])
    assert [each.identifiers for each in connections] == [{"10.0.0.1"}, set(), set()]


async def test_the_words_of_its_name_are_what_the_name_of_a_pod_may_be() -> None:
    name = "celery@jobs-7d9c-x2x4z: Consumer_1/media.jobs"
    (connection,) = await look(connections=[CONNECTION | {"user_provided_name": name}])
    assert connection.identifiers >= {"celery", "jobs-7d9c-x2x4z", "media.jobs"}
