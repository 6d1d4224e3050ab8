"""Which hosts are contacted, and what is told of a peer that is no broker, on real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from taskqueue_operator.rabbitmq.broker_hosts import BrokerHosts
from taskqueue_operator.rabbitmq.vhost import Vhost, VhostFactory
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved
from tests.cluster import ports
from tests.cluster.broker import Broker

LOOPBACK = "127.0.0.0/8"


@asynccontextmanager
async def vhost(entries: list[str], *, amqp: int, management: int) -> AsyncIterator[Vhost]:
    factory = VhostFactory(lambda: datetime.now(UTC), hosts=BrokerHosts(entries))
    secret = {
        "uri": f"amqp://guest:guest@localhost:{amqp}/%2F",
        "management-uri": f"http://localhost:{management}",
    }
    data = {key: value.encode() for key, value in secret.items()}
    opened = factory.connect(factory.endpoint(Key("media", "rabbitmq"), data, None))
    yield opened
    await opened.close()


async def fault(read: Callable[[], Awaitable[object]]) -> BrokerFault:
    with pytest.raises(BrokerFault) as caught:
        await read()
    return caught.value


async def test_a_loopback_broker_is_contacted_only_if_its_network_is_listed(broker: Broker) -> None:
    at = {"amqp": broker.amqp_port, "management": broker.management_port}
    for entries in ([], ["*"], ["localhost"], ["10.0.0.0/8"]):
        async with vhost(entries, **at) as refused:
            for read in (refused.sweep, lambda: refused.probe(["jobs"])):
                assert "brokers.hosts" in (await fault(read)).message
    async with vhost([LOOPBACK], **at) as allowed:
        assert await allowed.sweep() is not None


async def test_the_user_does_not_learn_what_an_unnamed_peer_is(broker: Broker) -> None:
    (closed,) = ports.free(1)
    messages, causes = set(), set()
    for port in (closed, broker.amqp_port, broker.management_port):
        async with vhost([LOOPBACK], amqp=port, management=port) as peer:
            reads = [peer.sweep] if port != broker.management_port else []
            reads += [lambda peer=peer: peer.probe(["jobs"])] if port != broker.amqp_port else []  # type: ignore[misc]  # the type of a bound default
            for read in reads:
                seen = await fault(read)
                messages.add((seen.reason, seen.message.replace(str(port), "PORT")))
                causes.add(seen.cause)
    assert len(messages) == 2, "one for AMQP, one for the management API"
    assert len(causes) > 1, "the log tells them apart"
    (message,) = (text for _, text in messages if text.startswith("RabbitMQ"))
    assert_approved("broker.unreachable_unnamed_host", message)
