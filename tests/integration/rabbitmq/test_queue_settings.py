"""What the settings of a queue do on a real broker."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import DeliveryError

from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.queue_limits import limits_requirement
from taskqueue_operator.topology.queue_policies import main_policy
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import Connect, declare, probed, until_got
from tests.unit.topology.builders import desired_topology, taskqueue


async def declare_limited(rabbitmq: Vhost, **queue: object) -> None:
    """Declare queue `jobs`, then its policy, as the operator does."""
    spec = taskqueue(queue=queue)
    topology = desired(spec, "default")
    limits = limits_requirement(spec, topology.queues["jobs"])
    await declare(rabbitmq, topology)
    policy = main_policy("jobs", [limits] if limits is not None else [], await rabbitmq.topology())
    assert policy is not None
    await declare(rabbitmq, replace(topology, policies={policy.name: policy}))


async def is_accepted(channel: AbstractChannel) -> bool:
    try:
        await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs")
    except DeliveryError:
        return False
    return True


async def fill(channel: AbstractChannel) -> int:
    """Publish until the queue refuses a message, and return how many it has accepted."""
    while not await is_accepted(channel):  # noqa: ASYNC110  a quorum queue has room for publishers a moment later
        await asyncio.sleep(0.05)
    accepted = 1
    while await is_accepted(channel):
        accepted += 1
    return accepted


@every_version
@pytest.mark.parametrize("type_", ["Quorum", "Classic"])
async def test_a_full_queue_refuses_new_messages_but_not_those_that_a_worker_gives_back(
    connect: Connect, amqp: AbstractConnection, type_: str
) -> None:
    rabbitmq = connect()
    await declare_limited(rabbitmq, type=type_, maxLength=3)
    channel, worker = await amqp.channel(), await amqp.channel()

    async with asyncio.timeout(120):
        first = await fill(channel)
        held = [await until_got(worker, "jobs") for _ in range(first)]
        second = await fill(channel)
        await worker.basic_nack(held[-1], multiple=True, requeue=True)
        while (await probed(rabbitmq, "jobs")).ready != first + second:  # noqa: ASYNC110  no event says it
            await asyncio.sleep(0.05)


@every_version
@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ({"messageTtlSeconds": 1}, "expired"),
        ({"type": "Classic", "messageTtlSeconds": 1}, "expired"),
        ({"type": "Classic", "maxLength": 1, "overflow": "DropHead"}, "maxlen"),
        ({"deliveryLimit": 2}, "delivery_limit"),
    ],
    ids=["ttl", "ttl-classic", "drop-head", "delivery-limit"],
)
async def test_what_is_beyond_a_limit_goes_to_the_dead_letter_queue(
    connect: Connect, amqp: AbstractConnection, queue: dict[str, object], reason: str
) -> None:
    await declare_limited(connect(), **queue)
    channel = await amqp.channel()
    rejects = reason == "delivery_limit"

    async with asyncio.timeout(120):
        while not (dead := await channel.basic_get("jobs.dlq")).delivery_tag:
            await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs")  # the first may precede the limit
            while rejects and (tag := (await channel.basic_get("jobs")).delivery_tag):
                await channel.basic_reject(tag, requeue=True)
            await asyncio.sleep(0.1)

    headers: Any = dead.header.properties.headers
    (death,) = headers["x-death"]
    assert (death["reason"], death["queue"]) == (reason, "jobs")


@every_version
async def test_only_one_consumer_at_a_time_receives_messages(connect: Connect, amqp: AbstractConnection) -> None:
    await declare(connect(), desired_topology(queue={"singleActiveConsumer": True}))
    received: asyncio.Queue[str] = asyncio.Queue()
    active, standby = await amqp.channel(), await amqp.channel()
    await consume(active, "active", received)
    await consume(standby, "standby", received)

    for _ in range(2):
        await standby.basic_publish(b"task", exchange="jobs", routing_key="jobs")

    async with asyncio.timeout(120):
        assert [await received.get() for _ in range(2)] == ["active", "active"]
        await active.close()
        assert [await received.get() for _ in range(2)] == ["standby", "standby"]


async def consume(channel: AbstractChannel, name: str, received: asyncio.Queue[str]) -> None:
    """Consume queue `jobs` without acknowledging anything."""

    async def on_message(_message: DeliveredMessage) -> None:
        received.put_nowait(name)

    await channel.basic_consume("jobs", on_message)
