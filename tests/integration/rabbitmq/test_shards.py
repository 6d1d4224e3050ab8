"""The shards of a queue, with a real broker: which of them gets a message, and that a deletion loses none."""

from collections.abc import Mapping

import pytest
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import DeliveryError, PublishError

from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.deletion import fence_steps, removal_steps
from taskqueue_operator.topology.diff import Declare, diff
from taskqueue_operator.topology.objects import Binding, Queue
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, declare, probed
from tests.integration.rabbitmq.test_exchanges import publish
from tests.permissions import documented, permissions
from tests.unit.topology.builders import OWNER, desired_topology

COUNT = 4
TENANTS = 16
BY_TENANT = desired_topology(queue={"shards": {"count": COUNT, "hashOn": "tenant"}})
BY_KEY = desired_topology(
    exchange={"type": "Topic"}, bindings=[{"routingKey": "#"}], queue={"shards": {"count": COUNT}}
)


async def depths(rabbitmq: Vhost, count: int = COUNT) -> list[int | None]:
    return [(await probed(rabbitmq, f"jobs.{number}")).ready for number in range(count)]


async def changes(rabbitmq: Vhost, before: list[int | None]) -> Mapping[int, int]:
    """Return which shards have got messages, and how many."""
    pairs = enumerate(zip(before, await depths(rabbitmq), strict=True))
    return {number: (after or 0) - (old or 0) for number, (old, after) in pairs if after != old}


@every_version
async def test_messages_with_equal_values_of_the_header_go_to_one_shard(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """So do those without it: none is lost."""
    rabbitmq = connect()
    await declare(rabbitmq, BY_TENANT)
    assert diff(BY_TENANT, await rabbitmq.topology(), owner=OWNER) == ()
    channel = await amqp.channel(on_return_raises=True)
    used: set[int] = set()
    before = await depths(rabbitmq)
    for tenant in range(TENANTS):
        for _ in range(2):
            await publish(channel, "jobs", "jobs", tenant=f"tenant-{tenant}")
        (shard,) = set(await changes(rabbitmq, before))
        used.add(shard)
        before = await depths(rabbitmq)
    assert len(used) > 1
    for headers in ({}, {}, {"other": 1}):
        await publish(channel, "jobs", "jobs", **headers)
    assert list((await changes(rabbitmq, before)).values()) == [3]


@every_version
async def test_messages_with_equal_routing_keys_go_to_one_shard(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, BY_KEY)
    channel = await amqp.channel(on_return_raises=True)
    for number in range(TENANTS):
        await publish(channel, "jobs", f"image.{number}", tenant="one")
    before = await depths(rabbitmq)
    assert sum(depth or 0 for depth in before) == TENANTS
    assert 0 not in before
    for tenant in ("one", "two"):
        await publish(channel, "jobs", "image.1", tenant=tenant)
    assert list((await changes(rabbitmq, before)).values()) == [2]


@every_version
async def test_further_shards_join_and_each_message_has_one(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, BY_TENANT)
    more = desired_topology(queue={"shards": {"count": COUNT + 2, "hashOn": "tenant"}})
    channel = await amqp.channel(on_return_raises=True)
    await publish_for_tenants(channel)

    await declare(rabbitmq, more)
    await publish_for_tenants(channel)

    assert diff(more, await rabbitmq.topology(), owner=OWNER) == ()
    found = await depths(rabbitmq, COUNT + 2)
    assert sum(depth or 0 for depth in found) == 8 * TENANTS
    assert any(found[COUNT:])
    with pytest.raises(TopologyFault) as fault:
        diff(BY_TENANT, await rabbitmq.topology(), owner=OWNER)
    assert fault.value.reason is Reason.IMMUTABLE_DRIFT


async def publish_for_tenants(channel: AbstractChannel) -> None:
    for tenant in range(4 * TENANTS):
        await publish(channel, "jobs", "jobs", tenant=f"tenant-{tenant}")


async def test_a_queue_of_others_gets_no_share_of_the_messages(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, BY_TENANT)
    thief = Binding("jobs.in", "thief", to_queue=True, routing_key="100")
    await rabbitmq.apply([Declare(Queue("thief")), Declare(thief)])

    await declare(rabbitmq, BY_TENANT)

    await publish_for_tenants(await amqp.channel(on_return_raises=True))
    assert sum(depth or 0 for depth in await depths(rabbitmq)) == 4 * TENANTS


@every_version
async def test_publishers_are_refused_before_the_shards_are_deleted_and_nothing_is_left(
    connect: Connect, user: MakeUser, amqp: AbstractConnection
) -> None:
    """With the documented rights of the operator."""
    rights = permissions(documented("operator", "jobs", "jobs"))
    rabbitmq = connect(username=user("policymaker", **rights), password=PASSWORD)
    desired = desired_topology(queue={"shards": {"count": COUNT, "hashOn": "tenant"}})
    await declare(rabbitmq, desired)
    channel = await amqp.channel(on_return_raises=True)
    await publish_for_tenants(channel)

    rounds = 0
    while steps := fence_steps(desired, await rabbitmq.topology(), owner=OWNER):
        await rabbitmq.apply(steps)
        rounds += 1
    assert rounds <= 3

    for tenant in range(TENANTS):
        with pytest.raises((DeliveryError, PublishError)):
            await publish(channel, "jobs", "jobs", tenant=f"tenant-{tenant}")
    assert sum(depth or 0 for depth in await depths(rabbitmq)) == 4 * TENANTS
    await rabbitmq.apply(removal_steps(desired, await rabbitmq.topology(), owner=OWNER))
    left = await rabbitmq.topology()
    assert not left.queues
    assert not {name for name in left.exchanges if name.startswith("jobs")}
