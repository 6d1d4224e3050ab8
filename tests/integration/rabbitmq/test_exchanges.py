"""Exchanges of each type, their bindings, and exchanges that others declare, with a real broker."""

from dataclasses import replace

import pytest
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import PublishError
from pamqp.commands import Basic

from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.objects import Exchange, Topology
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, declare, probed
from tests.unit.topology.builders import OWNER, desired_topology

HEADERS = desired_topology(
    exchange={"name": "docs", "type": "Headers", "alternateExchange": "amq.fanout"},
    bindings=[
        {"arguments": {"format": "pdf", "pages": 1}},
        {"arguments": {"x-match": "any", "format": "pdf", "a b/~%": "\u00e9 ~%/"}},
        {"arguments": {"format": "pdf", "pages": "1"}},
        {"exchange": "amq.topic", "routingKey": "docs.#"},
        {"exchange": "amq.match", "arguments": {"format": "png"}},
    ],
)
HASH = desired_topology(exchange={"name": "shares", "type": "ConsistentHash"})


@every_version
@pytest.mark.parametrize("desired", [HEADERS, HASH])
async def test_exchanges_of_each_type_are_declared_and_leave_no_difference(connect: Connect, desired: Topology) -> None:
    rabbitmq = connect()

    assert await declare(rabbitmq, desired) != ()

    actual = await rabbitmq.topology()
    assert diff(desired, actual, owner=OWNER) == ()
    assert desired.exchanges.items() <= actual.exchanges.items()
    assert actual.bindings == desired.bindings


@every_version
async def test_a_binding_is_removed_by_its_arguments_and_the_others_stay(connect: Connect) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, HEADERS)
    fewer = desired_topology(
        exchange={"name": "docs", "type": "Headers", "alternateExchange": "amq.fanout"},
        bindings=[{"arguments": {"format": "pdf", "pages": "1"}}],
    )

    await declare(rabbitmq, fewer)

    assert (await rabbitmq.topology()).bindings == fewer.bindings


@every_version
async def test_messages_reach_the_queue_by_their_headers_whatever_the_owner_of_the_binding(
    connect: Connect, amqp: AbstractConnection
) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, HEADERS)
    channel = await amqp.channel(on_return_raises=True)

    await publish(channel, "docs", format="pdf", pages=1)
    await publish(channel, "docs", **{"a b/~%": "\u00e9 ~%/"})
    await publish(channel, "amq.match", format="png", pages=3)
    await publish(channel, "amq.topic", "docs.a.b")

    assert (await probed(rabbitmq, "jobs")).ready == 4
    for exchange, format_ in (("docs", "png"), ("amq.match", "pdf")):
        with pytest.raises(PublishError):
            await publish(channel, exchange, format=format_)


async def publish(channel: AbstractChannel, exchange: str, key: str = "", **headers: str | int) -> None:
    """Publish a message that must reach a queue."""
    properties = Basic.Properties(headers={**headers}, delivery_mode=2)
    await channel.basic_publish(b"task", exchange=exchange, routing_key=key, properties=properties, mandatory=True)


@every_version
async def test_a_queue_keeps_its_share_of_a_consistent_hash_exchange_whose_binding_was_changed(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """RabbitMQ knows one share for each destination: removed last, the changed binding takes it along."""
    rabbitmq = connect()
    await declare(rabbitmq, HASH)
    (share,) = (binding for binding in HASH.bindings if binding.source == "shares")
    await rabbitmq.apply([Remove(share), Declare(replace(share, routing_key="10"))])

    await declare(rabbitmq, HASH)

    assert (await rabbitmq.topology()).bindings == HASH.bindings
    channel = await amqp.channel(on_return_raises=True)
    for number in range(20):
        await publish(channel, "shares", f"key-{number}")
    assert (await probed(rabbitmq, "jobs")).ready == 20


@pytest.mark.parametrize(("writes", "reads"), [("unrouted", "events"), ("events", "events"), ("unrouted", "unrouted")])
async def test_exchanges_of_others_need_the_documented_permissions(
    connect: Connect, user: MakeUser, writes: str, reads: str
) -> None:
    """Write on the alternate exchange, and read on that of a binding."""
    await connect().apply([Declare(Exchange("events", "topic")), Declare(Exchange("unrouted", "fanout"))])
    names = r"jobs(\..*)?"
    permissions = {"write": rf"^({names}|amq\.default|{writes})$", "read": rf"^({names}|{reads})$"}
    rabbitmq = connect(username=user("management", configure=f"^{names}$", **permissions), password=PASSWORD)
    desired = desired_topology(
        exchange={"alternateExchange": "unrouted"}, bindings=[{"exchange": "events", "routingKey": "image"}]
    )

    if (writes, reads) == ("unrouted", "events"):
        await declare(rabbitmq, desired)
        assert diff(desired, await rabbitmq.topology(), owner=OWNER) == ()
    else:
        with pytest.raises(BrokerFault) as fault:
            await declare(rabbitmq, desired)
        assert fault.value.reason is Reason.PERMISSION_DENIED
