import asyncio
from collections import Counter
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection
from aiormq.exceptions import DeliveryError, PublishError

from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps
from taskqueue_operator.topology.diff import diff
from tests.cluster.broker import Broker
from tests.cluster.progress import until
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, approve, probed
from tests.unit.topology.builders import OWNER, desired_topology


async def fence(rabbitmq: Vhost) -> None:
    while steps := fence_steps(desired_topology(), await rabbitmq.topology(), owner=OWNER):
        await rabbitmq.apply(steps)


async def declare(rabbitmq: Vhost) -> None:
    await rabbitmq.apply(diff(desired_topology(), await rabbitmq.topology(), owner=OWNER))


class Publishers:
    """Publish with confirms and `mandatory` until stopped, and count the outcomes."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._running = True
        self.counts = Counter[str]()

    async def publish(self) -> None:
        channel = await self._connection.channel()
        while self._running:
            try:
                await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs", mandatory=True)
                self.counts["accepted"] += 1
            except PublishError:
                self.counts["unroutable"] += 1
            except DeliveryError:
                self.counts["refused"] += 1

    async def until(self, outcome: str, more: int) -> None:
        """Wait for this number of additional messages with an outcome."""
        enough = self.counts[outcome] + more
        await asyncio.to_thread(until, lambda: self.counts[outcome] >= enough, f"{more} {outcome}", seconds=120)

    def stop(self) -> None:
        self._running = False


@every_version
async def test_the_fence_turns_every_publish_into_a_nack_and_loses_none(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """Invariant: nothing lost. Every confirmed message is in the queue, before and while the fence is set up."""
    rabbitmq = connect()
    await declare(rabbitmq)
    publishers = Publishers(amqp)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(publishers.publish())
        await publishers.until("accepted", 200)
        await fence(rabbitmq)
        accepted = publishers.counts["accepted"]
        await publishers.until("refused", 200)
        publishers.stop()

    assert publishers.counts["accepted"] - accepted <= 8, "only messages that were in flight"
    assert publishers.counts["unroutable"] == 0
    assert (await probed(rabbitmq, "jobs")).ready == publishers.counts["accepted"]


async def test_a_policy_that_displaces_the_fence_costs_no_message(
    connect: Connect, amqp: AbstractConnection, admin: httpx.Client, vhost: str
) -> None:
    """Before the deletion, and while the queue is unbound: then it is bound again."""
    rabbitmq = connect()
    await declare(rabbitmq)
    await fence(rabbitmq)
    path = f"/policies/{quote(vhost, safe='')}/company"
    company = {"pattern": ".*", "apply-to": "all", "definition": {"max-length": 1000}, "priority": 5000}
    (await asyncio.to_thread(admin.put, path, json=company)).raise_for_status()

    with pytest.raises(Fault) as waits:
        await fence(rabbitmq)

    assert waits.value.reason is Reason.POLICY_CONFLICT
    channel = await amqp.channel()
    await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs", mandatory=True)
    assert (await probed(rabbitmq, "jobs")).ready == 1


async def test_messages_of_a_fenced_queue_can_still_be_consumed(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq = connect()
    await declare(rabbitmq)
    channel = await amqp.channel()
    await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs")

    await fence(rabbitmq)

    message = await channel.basic_get("jobs")
    assert message.body == b"task"
    assert message.delivery_tag is not None
    await channel.basic_ack(message.delivery_tag)


async def test_publishers_get_nacks_until_their_exchange_is_removed(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq = connect()
    await declare(rabbitmq)
    await fence(rabbitmq)
    channel = await amqp.channel()

    for step in removal_steps(desired_topology(), await rabbitmq.topology(), owner=OWNER):
        if "jobs" not in (await rabbitmq.topology()).exchanges:
            break
        with pytest.raises(DeliveryError) as refused:
            await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs", mandatory=True)
        assert not isinstance(refused.value, PublishError), "refused, not returned as unroutable"
        await rabbitmq.apply([step])


async def test_a_removal_interrupted_after_any_step_can_be_completed(connect: Connect) -> None:
    """Invariant: crash anywhere, converge after."""
    rabbitmq = connect()
    await declare(rabbitmq)
    await fence(rabbitmq)

    while steps := removal_steps(desired_topology(), await rabbitmq.topology(), owner=OWNER):
        await rabbitmq.apply(steps[:1])
        assert is_fenced(desired_topology(), await rabbitmq.topology(), owner=OWNER)

    actual = await rabbitmq.topology()
    assert (actual.queues, actual.bindings, actual.policies) == ({}, frozenset(), {})
    assert all(not name or name.startswith("amq.") for name in actual.exchanges)


@pytest.mark.parametrize("done", [0, 1, 3, 5, 6])
async def test_a_taskqueue_of_the_same_name_repairs_an_interrupted_deletion(
    connect: Connect, amqp: AbstractConnection, done: int
) -> None:
    rabbitmq = connect()
    await declare(rabbitmq)
    await fence(rabbitmq)
    await rabbitmq.apply(removal_steps(desired_topology(), await rabbitmq.topology(), owner=OWNER)[:done])

    await declare(rabbitmq)

    assert diff(desired_topology(), await rabbitmq.topology(), owner=OWNER) == ()
    assert "jobs.fence" not in (await rabbitmq.topology()).queues
    channel = await amqp.channel()
    await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs", mandatory=True)
    assert (await probed(rabbitmq, "jobs")).ready == 1


async def test_a_user_without_the_tag_policymaker_cannot_fence(
    connect: Connect, user: MakeUser, broker: Broker
) -> None:
    name = user("management")
    rabbitmq = connect(username=name, password=PASSWORD)
    await declare(rabbitmq)

    with pytest.raises(BrokerFault) as fault:
        await fence(rabbitmq)

    assert fault.value.reason is Reason.PERMISSION_DENIED
    placeholders = {broker.management_url: "MANAGEMENT", name: "app-team"}
    approve("broker.policymaker_tag_missing", fault.value.message, placeholders)
    assert not is_fenced(desired_topology(), await rabbitmq.topology(), owner=OWNER), "and the queue is still bound"


async def test_a_user_with_the_tag_policymaker_can_fence_and_delete(connect: Connect, user: MakeUser) -> None:
    rabbitmq = connect(username=user("policymaker"), password=PASSWORD)
    await declare(rabbitmq)

    await fence(rabbitmq)
    await rabbitmq.apply(removal_steps(desired_topology(), await rabbitmq.topology(), owner=OWNER))

    assert (await rabbitmq.topology()).queues == {}
